// The page's data: base64 of gzip of JSON, in elements that are unpacked when they are asked for.

const PARTS_KEPT = 12;
const unpacked = new Map();

/** Return the element of a name, once the browser has read all of it. */
async function element(name) {
  for (;;) {
    const found = document.getElementById(name);
    if (found && (found.nextSibling || document.readyState !== 'loading')) return found;
    if (document.readyState !== 'loading') throw new Error(`this file has no ${name}: it was cut off`);
    await new Promise((done) => setTimeout(done, 30));
  }
}

/** Return the JSON value of an element. */
async function unpack(name) {
  const packed = atob((await element(name)).textContent);
  const bytes = Uint8Array.from(packed, (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Response(stream).json();
}

/** Return the value of an element, which stays unpacked: the rows of a run. */
function kept(name) {
  if (!unpacked.has(name)) unpacked.set(name, unpack(name));
  return unpacked.get(name);
}

/** Return the documents of a part; the parts read last stay unpacked. */
function part(number) {
  const name = `part-${number}`;
  const found = unpacked.get(name) ?? unpack(name);
  unpacked.delete(name);
  unpacked.set(name, found);
  const parts = [...unpacked.keys()].filter((key) => key.startsWith('part-'));
  for (const old of parts.slice(0, -PARTS_KEPT)) unpacked.delete(old);
  return found;
}

/** Return the part that holds a document: the last one that starts at it or before it. */
function partOf(starts, number) {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle] <= number) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Return a document by its number; null where the page had no room for it. */
async function documentOf(number) {
  if (number < 0) return null;
  const { starts } = await kept('about');
  const at = partOf(starts, number);
  return (await part(at))[number - starts[at]];
}

/** Return whether any text of a document holds what is looked for, in small letters. */
function holds(value, sought) {
  if (typeof value === 'string') return value.toLowerCase().includes(sought);
  if (value && typeof value === 'object') return Object.values(value).some((one) => holds(one, sought));
  return false;
}

