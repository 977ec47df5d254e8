// Text of models on the page: never markup, what hides is spelled out, long texts wait, formulas are set.

const SHOWN = 20000;
const LUMP = 8000;
// Controls, bidirectional marks and overrides, hidden joiners, line separators, halves of characters. A tab and a line feed stay.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]|\p{Surrogate}/gu;
// $$…$$, \[…\], \(…\), and $…$ on one line; not the dollars of "$5 and $6": the inside has no space at its ends, and no digit follows.
const FORMULA = /\$\$[^$]{1,4000}?\$\$|\\\[[^]{1,4000}?\\\]|\\\([^]{1,4000}?\\\)|\$(?! )(?:[^$\n\\]|\\.){1,1000}?(?<! )\$(?!\d)/g;

let formulasSet = true;

/** Return an element with children; texts become text nodes, and attributes are set by name. */
function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === 'onclick') made.addEventListener('click', value);
    else made.setAttribute(key, value === true ? '' : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Append a text with what cannot be seen spelled out. */
function plainly(parent, text) {
  let from = 0;
  for (const found of text.matchAll(UNSEEN)) {
    if (found.index > from) parent.append(text.slice(from, found.index));
    const code = found[0].codePointAt(0).toString(16).toUpperCase().padStart(4, '0');
    parent.append(make('span', { class: 'unseen', title: 'a character that cannot be seen' }, `U+${code}`));
    from = found.index + found[0].length;
  }
  if (from < text.length) parent.append(text.slice(from));
}

const setting = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      setting.unobserve(target);
      setFormula(target);
    }
  },
  { rootMargin: '600px' },
);

/** Set a formula in MathML; one that cannot be read stays as its source. */
function setFormula(target) {
  const source = target.textContent;
  const shift = source.startsWith('$') && !source.startsWith('$$') ? 1 : 2;
  const display = source.startsWith('$$') || source.startsWith('\\[');
  const made = document.createElement('span');
  try {
    temml.render(source.slice(shift, -shift), made, {
      displayMode: display, throwOnError: true, trust: false, strict: false, maxExpand: 200, maxSize: [20, 40],
    });
  } catch {
    return;
  }
  target.replaceChildren(...made.childNodes);
  target.classList.add('set');
  target.classList.toggle('display', display);
  target.title = source;
}

/** Append a text: its formulas, and between them what it says. */
function withFormulas(parent, text) {
  if (!formulasSet) return plainly(parent, text);
  let from = 0;
  for (const found of text.matchAll(FORMULA)) {
    if (found[0].search(UNSEEN) >= 0) continue;
    plainly(parent, text.slice(from, found.index));
    const formula = make('span', { class: 'tex' }, found[0]);
    parent.append(formula);
    setting.observe(formula);
    from = found.index + found[0].length;
  }
  return plainly(parent, text.slice(from));
}

/** Return an element with a text; what is beyond a screenful of screenfuls comes at the press of a button. */
function words(name, attributes, text) {
  const made = make(name, { ...attributes, class: `text ${attributes.class ?? ''}`.trim(), dir: 'ltr' });
  withFormulas(made, text.slice(0, SHOWN));
  if (text.length > SHOWN) {
    const more = make('button', { type: 'button', class: 'whole' }, `Show all ${text.length.toLocaleString('en')} characters`);
    more.addEventListener('click', () => {
      more.remove();
      for (let at = SHOWN; at < text.length; at += LUMP) {
        const lump = make('span', { class: 'lump' });
        plainly(lump, text.slice(at, at + LUMP));
        made.append(lump);
      }
    });
    made.append(more);
  }
  return made;
}

// A word with the white space before it, or a formula as a whole: " so $a + 1$." is " so" and " $a + 1$.".
const WORD = new RegExp(`\\s*(?:(?:${FORMULA.source})\\S*|\\S+)`, 'g');
const wordsOf = (text) => text.match(WORD) ?? [];

/** Return what became of the words of a text: [kind, words] in order, of kind "same", "del" or "ins". */
function changes(before, after) {
  const [a, b] = [wordsOf(before), wordsOf(after)];
  if (a.length * b.length > 400000) return [['del', before], ['ins', after]];
  const same = (i, j) => a[i].trim() === b[j].trim();
  // lengths[i][j]: the longest common subsequence of a[i:] and b[j:].
  const lengths = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      lengths[i][j] = same(i, j) ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  const found = [];
  const add = (kind, word) => {
    if (found.at(-1)?.[0] === kind) found.at(-1)[1] += word;
    else found.push([kind, word]);
  };
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && same(i, j)) [i, j] = [i + 1, (add('same', b[j]), j + 1)];
    else if (j >= b.length || (i < a.length && lengths[i + 1][j] >= lengths[i][j + 1])) add('del', a[i++]);
    else add('ins', b[j++]);
  }
  return found;
}

/** Return an element with a text that was written anew: what went is struck, what came is underlined. */
function rewritten(attributes, before, after) {
  const made = make('div', { ...attributes, dir: 'ltr' });
  for (const [kind, text] of changes(before.trim(), after.trim())) {
    made.append(kind === 'same' ? words('span', {}, text) : words(kind, {}, text));
  }
  return made;
}

const count = (value) => value.toLocaleString('en');
const share = (before, after) => (before ? `${after < before ? '−' : '+'}${Math.abs(Math.round(100 * (after / before - 1)))} %` : '');

