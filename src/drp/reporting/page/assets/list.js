// The lists: rows of a run, filtered and sorted by what the address says, a hundred at a time.

const PAGE = 100;
const HOW = {
  traces: {
    rows: (run) => kept(`traces-${run}`),
    documents: (rows, i) => [rows.document[i]],
    choices: (about) => ({
      benchmark: about.names.benchmark, skill: about.names.skill, check: about.names.check, action: about.actions,
      result: ['accepted', 'refused', 'repaired'],
    }),
    filters: {
      benchmark: (rows, i, name, about) => about.names.benchmark[rows.benchmark[i]] === name,
      result: (rows, i, name) => ({ accepted: !rows.refused[i], refused: rows.refused[i], repaired: rows.repaired[i] })[name],
      action: (rows, i, name, about) => rows.actions[i] & (1 << about.actions.indexOf(name)),
      skill: (rows, i, name, about) => rows.skills[i].includes(about.names.skill.indexOf(name)),
      check: (rows, i, name, about) => rows.failed[i].includes(about.names.check.indexOf(name)),
    },
    sorts: {
      long: (rows, i) => -rows.before[i],
      cut: (rows, i) => rows.after[i] / (rows.before[i] || 1),
      kept: (rows, i) => -rows.after[i] / (rows.before[i] || 1),
    },
    line: (rows, i, about) => [
      make('span', {}, `${count(rows.before[i])} → ${count(rows.after[i])}  ${share(rows.before[i], rows.after[i])}`),
      rows.refused[i]
        ? make('span', { class: 'wrong' }, `✗ ${rows.failed[i].map((n) => about.names.check[n]).join(', ') || 'refused'}`)
        : make('span', { class: 'right' }, rows.repaired[i] ? '✓ repaired' : '✓'),
    ],
  },
  completions: {
    rows: (run) => kept(`completions-${run}`),
    documents: (rows, i) => rows.document[i],
    choices: (about) => ({
      benchmark: about.names.benchmark,
      change: ['right to wrong', 'wrong to right', 'both right', 'both wrong'],
      ends: ['cut off', 'never closed', 'loops'],
    }),
    filters: {
      benchmark: (rows, i, name, about) => about.names.benchmark[rows.benchmark[i]] === name,
      change: (rows, i, name) => verdict(rows.right[i]) === name,
      ends: (rows, i, name) => rows.ends[i].some((bits) => bits & { 'cut off': 1, 'never closed': 2, loops: 4 }[name]),
    },
    sorts: {
      long: (rows, i) => -Math.max(...rows.tokens[i]),
      shorter: (rows, i) => rows.tokens[i][1] - rows.tokens[i][0],
      longer: (rows, i) => rows.tokens[i][0] - rows.tokens[i][1],
    },
    line: (rows, i) => {
      const [before, after] = rows.right[i];
      const sign = (right) => (right === null ? '–' : right ? '✓' : '✗');
      const both = rows.document[i][1] >= 0;
      return [
        make('span', {}, rows.tokens[i].slice(0, both ? 2 : 1).map(count).join(' → ') + (both ? `  ${share(...rows.tokens[i])}` : '')),
        make('span', { class: (both ? after : before) ? 'right' : 'wrong', 'aria-label': verdict(rows.right[i]) || (before ? 'right' : 'wrong') },
          both ? `${sign(before)} → ${sign(after)}` : sign(before)),
      ];
    },
  },
};

/** Return what became of a problem's verdict, in words; empty where one of them is not known. */
function verdict([before, after]) {
  if (before === null || after === null) return '';
  if (before === after) return before ? 'both right' : 'both wrong';
  return before ? 'right to wrong' : 'wrong to right';
}

/** Return the indices of the rows that a place asks for, in its order. */
async function matching(view, here, about, said, still) {
  const how = HOW[view];
  const rows = await how.rows(here.run);
  const wanted = Object.entries(how.filters).filter(([name]) => here[name]);
  let found = [...rows.id.keys()].filter((i) => wanted.every(([name, fits]) => fits(rows, i, here[name], about)));
  const sought = (here.q ?? '').trim().toLowerCase();
  if (sought && !here.deep) found = found.filter((i) => `${rows.question[i]} ${rows.id[i]}`.toLowerCase().includes(sought));
  if (sought && here.deep) found = await deeply(how, rows, found, sought, said, still);
  const by = how.sorts[here.sort];
  return by ? found.sort((one, two) => by(rows, one) - by(rows, two)) : found;
}

/** Return those of some rows whose texts hold what is sought; says how far it is, and gives up when nobody waits any more. */
async function deeply(how, rows, among, sought, said, still) {
  const found = [];
  for (const [at, i] of among.entries()) {
    for (const number of how.documents(rows, i)) {
      if (holds(await documentOf(number), sought)) {
        found.push(i);
        break;
      }
    }
    if (at % 50 === 49) {
      if (!still()) return found;
      said(`reading ${count(at + 1)} of ${count(among.length)}, ${count(found.length)} found`);
      await new Promise((done) => setTimeout(done));
    }
  }
  return found;
}

/** The list of a view: its form, its rows, its pages. */
class List {
  constructor(view) {
    this.view = view;
    this.root = document.getElementById(view);
    this.form = this.root.querySelector('form');
    this.box = this.root.querySelector('.rows');
    this.found = [];
    this.asked = '';
    this.page = 0;
    let typing = 0;
    this.form.addEventListener('input', (event) => {
      clearTimeout(typing);
      typing = setTimeout(() => this.ask(), event.target.name === 'q' ? 180 : 0);
    });
    this.form.addEventListener('submit', (event) => event.preventDefault());
    this.form.addEventListener('reset', () => setTimeout(() => this.ask()));
    for (const button of this.root.querySelectorAll('[data-page]')) {
      button.addEventListener('click', () => {
        this.turn(this.page + Number(button.dataset.page));
        this.root.querySelector('.side').scrollTop = 0;
      });
    }
  }

  /** Put what the form says into the address. */
  ask() {
    const said = Object.fromEntries([...this.form.elements].filter((e) => e.name).map((e) => [e.name, e.type === 'checkbox' ? (e.checked ? '1' : '') : e.value]));
    go({ ...said, step: '' }, { replace: true });
  }

  /** Fill the choices of the form with those that there are. */
  fill(about) {
    for (const [name, choices] of Object.entries(HOW[this.view].choices(about))) {
      const select = this.form.elements[name];
      select.append(...choices.filter(Boolean).map((choice) => make('option', { value: choice }, choice)));
      select.closest('label').hidden = !choices.some(Boolean);
    }
  }

  /** Show what a place asks for. */
  async show(here, about) {
    const { id, step, view, ...asked } = here;
    const key = JSON.stringify(asked);
    if (key !== this.asked) {
      this.asked = key;
      for (const field of this.form.elements) {
        if (field.type === 'checkbox') field.checked = Boolean(here[field.name]);
        else if (field.name && field !== document.activeElement) field.value = here[field.name] ?? '';
      }
      const output = this.form.querySelector('output');
      const still = () => this.asked === key;
      const found = await matching(this.view, here, about, (text) => (output.textContent = text), still);
      if (!still()) return;
      this.rows = await HOW[this.view].rows(here.run);
      this.found = found;
      this.about = about;
      output.textContent = found.length === this.rows.id.length ? count(found.length) : `${count(found.length)} of ${count(this.rows.id.length)}`;
      this.form.querySelector('[type="reset"]').hidden = found.length === this.rows.id.length;
      this.page = -1;
    }
    const at = id ? this.found.findIndex((i) => this.rows.id[i] === id) : -1;
    this.turn(at >= 0 ? Math.floor(at / PAGE) : Math.max(0, this.page), here);
  }

  /** Show a page of the rows. */
  turn(page, here = place()) {
    const pages = Math.max(1, Math.ceil(this.found.length / PAGE));
    if (page !== this.page) {
      this.page = Math.min(Math.max(0, page), pages - 1);
      const shown = this.found.slice(this.page * PAGE, (this.page + 1) * PAGE);
      this.box.start = this.page * PAGE + 1;
      this.box.replaceChildren(...shown.map((i) => this.row(i)));
      if (!shown.length) this.box.append(make('li', { class: 'empty' }, this.rows.id.length ? 'None fits.' : 'None in this run.'));
      const pager = this.root.querySelector('.pager');
      pager.hidden = pages < 2;
      pager.querySelector('span').textContent = `${count(this.page + 1)} of ${count(pages)}`;
      pager.querySelector('[data-page="-1"]').disabled = this.page === 0;
      pager.querySelector('[data-page="1"]').disabled = this.page === pages - 1;
    }
    for (const link of this.box.querySelectorAll('a')) {
      const current = link.dataset.id === here.id;
      if (current) link.setAttribute('aria-current', 'true');
      else link.removeAttribute('aria-current');
      link.href = address({ ...here, view: this.view, id: link.dataset.id, step: '' });
      if (current) link.scrollIntoView({ block: 'nearest' });
    }
  }

  row(i) {
    const question = make('span', { class: 'q' });
    plainly(question, this.rows.question[i] || '–');
    return make('li', {}, make('a', { 'data-id': this.rows.id[i] }, question, make('span', { class: 'm' }, ...HOW[this.view].line(this.rows, i, this.about))));
  }

  /** Return the index of the row of an id, whether the filters show it or not. */
  index(id) {
    return this.rows.id.indexOf(id);
  }

  /** Go to the row that is so many further on. */
  move(by) {
    if (!this.found.length) return;
    const at = this.found.findIndex((i) => this.rows.id[i] === place().id);
    const next = at < 0 ? 0 : Math.min(Math.max(0, at + by), this.found.length - 1);
    go({ id: this.rows.id[this.found[next]], step: '' });
  }
}

