// The page itself: shows the place that the address names, and hears keys.

const lists = { traces: new List('traces'), completions: new List('completions') };
const themeButton = document.getElementById('theme');
const keys = document.getElementById('keys');
let shownDetail = '';

/** Show the place that the address names. */
async function render() {
  const about = await kept('about');
  const here = place();
  here.run = Math.min(here.run, about.runs.length - 1);
  for (const view of document.querySelectorAll('.view')) view.hidden = view.dataset.view !== here.view;
  for (const part of document.querySelectorAll('[data-run]')) part.hidden = Number(part.dataset.run) !== here.run;
  for (const link of document.querySelectorAll('[data-to]')) {
    if (link.dataset.to === here.view) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
    link.href = address({ view: link.dataset.to, run: here.run });
  }
  const chosen = document.getElementById('run');
  if (chosen) chosen.value = String(here.run);
  const list = lists[here.view];
  if (!list) return;
  await list.show(here, about);
  list.root.classList.toggle('open', Boolean(here.id));
  await detail(list, here, about);
}

async function detail(list, here, about) {
  const key = JSON.stringify([here.view, here.run, here.id, here.step, formulasSet]);
  if (key === shownDetail) return;
  const same = shownDetail && JSON.parse(shownDetail)[2] === here.id;
  shownDetail = key;
  const box = list.root.querySelector('.detail');
  const i = here.id ? list.index(here.id) : -1;
  if (i < 0) {
    const said = here.id ? `There is no ${here.id} in this run.` : `Choose one of ${count(list.rows.id.length)}: j and k go through them.`;
    box.replaceChildren(make('p', { class: 'empty' }, said));
    return;
  }
  if (list.view === 'completions') await showPair(box, list, i, about, here);
  else {
    const found = await documentOf(list.rows.document[i]);
    if (key !== shownDetail) return;
    if (found) showTrace(box, found, list, about, here);
    else box.replaceChildren(toolbar(list), make('p', { class: 'empty' }, 'The page had no room for this text; it is in the run folder.'));
  }
  if (!here.step && !same) scrollTo(0, 0);
}

function toggleFormulas() {
  formulasSet = !formulasSet;
  render();
}

/** Return whether the page is dark now. */
function dark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  themeButton.textContent = dark() ? 'Light' : 'Dark';
}

function toggleTheme() {
  const theme = dark() ? 'light' : 'dark';
  setTheme(theme);
  try {
    localStorage.setItem('drp-theme', theme);
  } catch {
    // a page from a file may have no storage
  }
}

const PRESSED = {
  j: () => lists[place().view]?.move(1),
  k: () => lists[place().view]?.move(-1),
  n: () => nextChange(1),
  p: () => nextChange(-1),
  i: toggleInline,
  f: toggleFormulas,
  d: toggleTheme,
  '?': () => keys.showModal(),
  '/': () => {
    if (!lists[place().view]) go({ view: 'traces' });
    requestAnimationFrame(() => lists[place().view].form.elements.q.focus());
  },
  Escape: () => place().id && go({ id: '', step: '' }),
};

addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
  const typing = event.target.matches('input, select, textarea');
  if (typing && event.key === 'Escape') event.target.blur();
  if (typing) return;
  const view = VIEWS[Number(event.key) - 1];
  const press = view ? () => go({ view, id: '', step: '' }) : PRESSED[event.key];
  if (!press) return;
  event.preventDefault();
  press();
});
themeButton.addEventListener('click', toggleTheme);
document.getElementById('help').addEventListener('click', () => keys.showModal());
document.getElementById('run')?.addEventListener('change', (event) => go({ run: event.target.value, id: '', step: '' }));
addEventListener('hashchange', render);

let remembered = null;
try {
  remembered = localStorage.getItem('drp-theme');
} catch {
  remembered = null;
}
setTheme(remembered);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => setTheme(''));
if (innerWidth < 760) for (const more of document.querySelectorAll('.more')) more.open = false;
if (place().view !== 'overview') document.getElementById('overview').hidden = true;
kept('about').then((about) => {
  for (const list of Object.values(lists)) list.fill(about);
  return render();
});
