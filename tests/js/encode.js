// Writes vector tiles by the specification, independently of the decoder that is tested.

export function varint(value) {
  const bytes = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return bytes;
}

const zigzag = (value) => (value < 0 ? -2 * value - 1 : 2 * value);
const block = (field, bytes) => [...varint(field * 8 + 2), ...varint(bytes.length), ...bytes];
const number = (field, value) => [...varint(field * 8), ...varint(value)];
const utf8 = (text) => [...new TextEncoder().encode(text)];

function valueBytes(given) {
  if (typeof given === 'string') return block(1, utf8(given));
  if (typeof given === 'boolean') return number(7, given ? 1 : 0);
  if (Number.isSafeInteger(given)) return number(4, given);
  return [...varint(3 * 8 + 1), ...new Uint8Array(new Float64Array([given]).buffer)];
}

// Paths of absolute points: one MoveTo and one LineTo each, closed for polygons.
export function commands(paths, kind) {
  const found = [];
  let [x, y] = [0, 0];
  const step = (path, at) => {
    found.push(zigzag(path[at] - x), zigzag(path[at + 1] - y));
    [x, y] = [path[at], path[at + 1]];
  };
  for (const path of paths) {
    found.push(1 | (1 << 3));
    step(path, 0);
    if (path.length > 2) found.push(2 | ((path.length / 2 - 1) << 3));
    for (let at = 2; at < path.length; at += 2) step(path, at);
    if (kind === 3) found.push(7 | (1 << 3));
  }
  return found;
}

export function tile(layers) {
  const bytes = layers.flatMap(({ name, extent = 4096, features }) => {
    const keys = [...new Set(features.flatMap((f) => Object.keys(f.properties ?? {})))];
    const values = features.flatMap((f) => Object.values(f.properties ?? {}));
    let next = 0;
    const written = features.flatMap(({ id, kind, paths, properties = {} }) => {
      const tags = Object.keys(properties).flatMap((key) => [keys.indexOf(key), next++]);
      return block(2, [
        ...(id === undefined ? [] : number(1, id)),
        ...block(2, tags.flatMap(varint)),
        ...number(3, kind),
        ...block(4, commands(paths, kind).flatMap(varint)),
      ]);
    });
    const table = [...keys.flatMap((key) => block(3, utf8(key))), ...values.flatMap((v) => block(4, valueBytes(v)))];
    return block(3, [...block(1, utf8(name)), ...written, ...table, ...number(5, extent), ...number(15, 2)]);
  });
  return new Uint8Array(bytes).buffer;
}
