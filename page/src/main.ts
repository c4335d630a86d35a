// The page: read the data that it carries and show what they are.

import { checkupPage } from "./checkup/page";
import type { Content as CheckupContent } from "./checkup/model";
import { comparisonPage, type Content as ComparisonContent } from "./comparison";
import { read, type Columns } from "./data";
import { diagramPage, type Content as DiagramContent } from "./diagram";
import { h } from "./dom";
import { startPrinting } from "./print";
import { repairPage, type Content as RepairContent } from "./repair";
import { runPage, type Content as RunContent } from "./run";
import { studyPage, type Content as StudyContent } from "./study";
import { startTheme } from "./theme";
import { startTips } from "./tip";
import { wordsPage, type Content as WordsContent } from "./words";

const PAGES: Record<string, (content: never, columns: Columns) => HTMLElement[]> = {
  checkup: (content: CheckupContent, columns) => checkupPage(content, columns),
  comparison: (content: ComparisonContent) => comparisonPage(content),
  study: (content: StudyContent, columns) => studyPage(content, columns),
  repair: (content: RepairContent) => repairPage(content),
  run: (content: RunContent, columns) => runPage(content, columns),
  diagram: (content: DiagramContent) => diagramPage(content),
  words: (content: WordsContent) => wordsPage(content),
};

async function show(): Promise<void> {
  const root = document.getElementById("leaky");
  if (!root) return;
  startTheme();
  startTips();
  startPrinting();
  try {
    const { content, columns } = await read();
    const page = PAGES[(content as { kind: string }).kind];
    if (!page) throw new Error("this page is of a kind that its script does not know");
    const [head, ...rest] = page(content as never, columns);
    root.replaceChildren(head!, h("main", {}, ...rest));
  } catch (error) {
    root.replaceChildren(h("p", { role: "alert", class: "failed" },
      `The page could not be drawn (${error instanceof Error ? error.message : String(error)}). It needs a browser of 2023 or newer.`));
  }
  document.documentElement.dataset["drawn"] = "yes";
}

void show();
