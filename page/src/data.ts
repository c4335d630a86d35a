// The data of the page: base64 → inflate → a JSON header and typed arrays. Nothing is fetched.

export interface Stored {
  $: number;
}

export type Numbers = Uint8Array | Uint16Array | Int32Array | Float32Array | Float64Array;

type Kind = "u1" | "u2" | "i4" | "f4" | "f8";

const MAKE: Record<Kind, (buffer: ArrayBuffer) => Numbers> = {
  u1: (buffer) => new Uint8Array(buffer),
  u2: (buffer) => new Uint16Array(buffer),
  i4: (buffer) => new Int32Array(buffer),
  f4: (buffer) => new Float32Array(buffer),
  f8: (buffer) => new Float64Array(buffer),
};
const SIZE: Record<Kind, number> = { u1: 1, u2: 2, i4: 4, f4: 4, f8: 8 };

/** The arrays of the page, unpacked when they are first asked for. */
export class Columns {
  private readonly places: { kind: Kind; length: number; offset: number }[] = [];
  private readonly unpacked = new Map<number, Numbers>();

  constructor(private readonly bytes: Uint8Array, layout: [Kind, number][], start: number) {
    let offset = start;
    for (const [kind, length] of layout) {
      this.places.push({ kind, length, offset });
      offset += length * SIZE[kind];
    }
  }

  get(stored: Stored): Numbers {
    const known = this.unpacked.get(stored.$);
    if (known) return known;
    const place = this.places[stored.$];
    if (!place) throw new RangeError(`no array ${stored.$}`);
    const made = MAKE[place.kind](this.joined(place));
    this.unpacked.set(stored.$, made);
    return made;
  }

  /** The bytes of an array in their order; they are stored by their place in the number. */
  private joined({ kind, length, offset }: { kind: Kind; length: number; offset: number }): ArrayBuffer {
    const size = SIZE[kind];
    const joined = new Uint8Array(length * size);
    for (let byte = 0; byte < size; byte++) {
      const from = offset + byte * length;
      for (let at = 0, to = byte; at < length; at++, to += size) joined[to] = this.bytes[from + at]!;
    }
    return joined.buffer;
  }
}

export interface Data {
  content: unknown;
  columns: Columns;
}

/** Read what the page carries: in the element of its own, or set by the script beside it. */
export async function read(): Promise<Data> {
  const beside = (globalThis as { leakyData?: string }).leakyData;
  const packed = beside ?? document.getElementById("leaky-data")?.textContent ?? "";
  const bytes = await inflated(fromBase64(packed));
  const headerLength = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + headerLength))) as {
    arrays: [Kind, number][];
    content: unknown;
  };
  return { content: header.content, columns: new Columns(bytes, header.arrays, 4 + headerLength) };
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

async function inflated(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
