// The bundle that ships in the wheel, and the licences of what is in it. Must give the same bytes on every machine.
import { build } from "esbuild";
import { readFileSync, readdirSync, writeFileSync, existsSync } from "node:fs";

const out = process.argv[2] ?? "../src/leaky/report/page";

const result = await build({
  entryPoints: { bundle: "src/main.ts" },
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2022"],
  charset: "ascii",
  legalComments: "none",
  metafile: true,
  write: false,
  outdir: out,
});

const style = await build({
  entryPoints: { bundle: "src/style/page.css" }, bundle: true, minify: true, write: false, outdir: out,
});

for (const file of [...result.outputFiles, ...style.outputFiles]) {
  if (/<\/(script|style)|<!--/i.test(file.text)) throw new Error(`${file.path} would end the element it stands in`);
  writeFileSync(file.path, file.text);
}

const packages = new Set();
for (const input of Object.keys(result.metafile.inputs)) {
  const found = input.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//);
  if (found) packages.add(found[1]);
}

const licences = [...packages].sort().map((name) => {
  const home = `node_modules/${name}`;
  const { version, license } = JSON.parse(readFileSync(`${home}/package.json`, "utf8"));
  const file = existsSync(home) && readdirSync(home).find((each) => /^licen[cs]e/i.test(each));
  if (!file) throw new Error(`${name} has no licence file`);
  return `${name} ${version} (${license})\n\n${readFileSync(`${home}/${file}`, "utf8").trim()}\n`;
});
writeFileSync(
  `${out}/LICENSES`,
  `What bundle.js contains beside leaky's own code, each with its licence.\n\n${licences.join("\n" + "-".repeat(80) + "\n\n")}`,
);
