// Both models' completions of one problem, side by side.

const ENDS = [[1, 'cut off'], [2, 'never closed'], [4, 'loops']];

function completionOf(name, found, right, ends) {
  if (!found) return make('section', { 'aria-label': name }, make('h3', {}, name), make('p', { class: 'empty' }, 'No completion on file.'));
  const verdictOf = right === null ? 'not graded' : right ? '✓ right' : '✗ wrong';
  return make('section', { 'aria-label': name }, make('h3', {}, name),
    facts(make('span', { class: right ? 'right' : 'wrong' }, verdictOf), ['tokens', count(found.tokens)],
      found.thinking_tokens !== null && ['thinking', count(found.thinking_tokens)],
      ...ENDS.filter(([bit]) => ends & bit).map(([, said]) => make('span', { class: 'wrong' }, said))),
    words('div', {}, found.thinking.trim()), make('h2', {}, 'Answer'), words('div', { class: 'boxed' }, found.answer.trim() || '–'));
}

/** Show the completions of a problem. */
async function showPair(box, list, i, about, here) {
  const { rows } = list;
  const documents = await Promise.all(rows.document[i].map(documentOf));
  const one = documents.find(Boolean);
  if (!one) return box.replaceChildren(toolbar(list), make('p', { class: 'empty' }, 'The page had no room for this text; it is in the run folder.'));
  const names = ['base', about.runs[here.run].outcome];
  const change = verdict(rows.right[i]);
  return box.replaceChildren(
    words('h2', { class: 'question' }, one.question),
    facts(['gold', quoted(one.gold)], ['benchmark', quoted(about.names.benchmark[rows.benchmark[i]] ?? '')],
      change && make('span', { class: change.endsWith('right') ? 'right' : 'wrong' }, change),
      rows.sample[i] && ['sample', String(rows.sample[i] + 1)], ['id', make('code', {}, rows.id[i])]),
    toolbar(list),
    make('div', { class: 'pair-of' }, ...names.map((name, side) => completionOf(name, documents[side], rows.right[i][side], rows.ends[i][side]))),
  );
}

