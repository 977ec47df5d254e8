// One pruned trace: what stood there beside what stands there now, step by step, and how it was judged.

let inOneColumn = false;

/** Return facts in a row: [name, value], or a value alone. */
function facts(...items) {
  return make('ul', { class: 'facts' }, ...items.filter(Boolean).map((item) => {
    const line = make('li', {});
    const [name, value] = Array.isArray(item) ? item : ['', item];
    if (name) line.append(`${name} `);
    line.append(value instanceof Node ? value : make('b', {}, value));
    return line;
  }));
}

/** Return a text that a model wrote, short and on its own. */
function quoted(text) {
  const made = make('bdi', {});
  plainly(made, text.slice(0, 300));
  return made;
}

/** Return the action of a step by sign, name and colour. */
const actionOf = (name) => make('span', { class: `action ${name}` }, name);

function stepOf(step, number, here) {
  const { action, text } = step;
  const [first, last] = step.units;
  const what = make('div', { class: 'what' },
    make('a', { href: address({ ...here, step: String(number + 1) }), title: `units ${first + 1} to ${last + 1}; a link to this step` }, String(number + 1)),
    actionOf(action), make('span', { class: 'skill' }));
  plainly(what.lastChild, step.skills.join(' + '));
  if (step.reason) {
    what.append(make('span', { class: 'reason' }));
    plainly(what.lastChild, step.reason.slice(0, 2000));
  }
  const old = make(action === 'delete' ? 'del' : 'div', { class: 'old' }, words('span', {}, text.trim()));
  let made;
  if (action === 'delete') made = make('div', { class: 'new', 'aria-hidden': 'true' }, make('span', { class: 'nothing' }, '—'));
  else if (step.new === undefined) made = make('div', { class: 'new' }, words('span', {}, text.trim()));
  else made = rewritten({ class: 'new' }, text, step.new);
  return make('li', { class: `step ${action}`, id: `step-${number + 1}`, tabindex: '-1' }, what, old, made);
}

function checksOf(checks, meanings) {
  const rows = checks.map((check) => {
    const figures = Object.entries(check.figures).map(([name, value]) => `${name.replaceAll('_', ' ')} ${Number(value.toPrecision(4))}`);
    const verdictOf = check.passed ? make('td', { class: 'right' }, '✓ passed') : make('td', { class: check.required ? 'wrong' : '' }, check.required ? '✗ failed' : '– not required');
    const detail = make('td', {});
    plainly(detail, check.detail);
    return make('tr', {}, make('th', { scope: 'row', title: meanings[check.name] }, check.name), verdictOf, make('td', { class: 'figures' }, figures.join(', ')), detail);
  });
  const head = ['check', 'verdict', 'figures', 'finding'].map((name) => make('th', { scope: 'col' }, name));
  return make('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': 'Checks' },
    make('table', { class: 'checks' }, make('thead', {}, make('tr', {}, ...head)), make('tbody', {}, ...rows)));
}

function toolbar(list, extra = []) {
  const button = (label, press, attributes = {}) => make('button', { type: 'button', onclick: press, ...attributes }, label);
  return make('div', { class: 'toolbar', role: 'toolbar', 'aria-label': 'Reading' },
    button('‹ All', () => go({ id: '', step: '' }), { class: 'back' }), ...extra,
    button('Formulas', () => toggleFormulas(), { 'aria-pressed': String(formulasSet), 'data-do': 'formulas' }),
    button('Previous', () => list.move(-1), { class: 'push' }), button('Next', () => list.move(1)));
}

/** Show a pruned trace. */
function showTrace(box, trace, list, about, here) {
  const steps = trace.steps ?? [];
  const tally = make('span', { class: 'tally' });
  for (const action of about.actions) {
    const n = steps.filter((step) => step.action === action).length;
    if (n) tally.append(make('span', { class: `action ${action}` }, `${n} ${action}`));
  }
  const inline = make('button', { type: 'button', 'data-do': 'inline', 'aria-pressed': String(inOneColumn), onclick: toggleInline }, 'One column');
  const change = make('button', { type: 'button', onclick: () => nextChange(1) }, 'Next change');
  const figures = Object.entries(trace.protocol).map(([name, value]) => `${name.replaceAll('_', ' ')} ${Number(value.toPrecision(4))}`);
  box.replaceChildren(
    words('h2', { class: 'question' }, trace.question),
    facts(
      ['gold', quoted(trace.gold)], ['tokens', `${count(trace.before)} → ${count(trace.after)} (${share(trace.before, trace.after)})`],
      make('span', { class: trace.accepted ? 'right' : 'wrong' }, trace.accepted ? '✓ accepted' : '✗ refused'),
      trace.repaired && 'repaired', trace.polished && 'polished', trace.benchmark && ['benchmark', quoted(trace.benchmark)],
      ['teacher', quoted(trace.teacher)], trace.candidates > 1 && ['candidates', String(trace.candidates)],
      trace.usage && ['teacher read', count(trace.usage[0])], trace.usage && ['wrote', count(trace.usage[1])],
      figures.length && make('span', {}, figures.join(', ')), ['id', make('code', {}, trace.id)],
      trace.source && ['source', quoted(trace.source)],
    ),
    toolbar(list, [tally, inline, change]),
    ...(trace.steps ? [
      make('div', { class: 'heads', 'aria-hidden': 'true' }, make('span', {}, 'Step'), make('span', {}, 'Original'), make('span', {}, 'Pruned')),
      make('ol', { class: 'steps', 'aria-label': 'Steps' }, ...steps.map((step, number) => stepOf(step, number, here))),
    ] : [
      make('p', { class: 'warning' }, 'Its script is of units that another version cut, so the texts stand side by side as a whole.'),
      make('div', { class: 'answers' }, words('div', { class: 'boxed' }, trace.thinking[0]), words('div', { class: 'boxed' }, trace.thinking[1])),
    ]),
    make('h2', {}, 'Answer'),
    trace.answers[0] === trace.answers[1] ? words('div', { class: 'boxed' }, trace.answers[0])
      : make('div', { class: 'answers' }, words('div', { class: 'boxed' }, trace.answers[0]), rewritten({ class: 'boxed new' }, ...trace.answers)),
    make('h2', {}, 'Checks'), checksOf(trace.checks, about.meanings),
    ...(trace.replies.length ? [make('h2', {}, "The teacher's raw reply"), ...trace.replies.map((reply) => words('pre', { tabindex: '0' }, reply))] : []),
  );
  box.classList.toggle('one', inOneColumn);
  if (here.step) markStep(box.querySelector(`#step-${CSS.escape(here.step)}`));
}

function markStep(step) {
  for (const old of document.querySelectorAll('.step.here')) old.classList.remove('here');
  if (!step) return;
  step.classList.add('here');
  step.scrollIntoView({ block: 'center' });
  step.focus({ preventScroll: true });
}

/** Go to the next change of the trace, or the one before. */
function nextChange(by) {
  const changed = [...document.querySelectorAll('#traces .step:not(.keep)')];
  const at = changed.findIndex((step) => step.classList.contains('here'));
  const next = changed[at < 0 ? (by > 0 ? 0 : changed.length - 1) : at + by];
  if (next) {
    history.replaceState(null, '', address({ ...place(), step: next.id.replace('step-', '') }));
    markStep(next);
  }
}

function toggleInline() {
  inOneColumn = !inOneColumn;
  document.querySelector('#traces .detail').classList.toggle('one', inOneColumn);
  document.querySelector('[data-do="inline"]')?.setAttribute('aria-pressed', String(inOneColumn));
}

