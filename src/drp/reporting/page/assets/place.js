// Where the reader is, in the address: #/traces?run=0&skill=verification&id=trace-…&step=4

const VIEWS = ['overview', 'traces', 'completions', 'skills'];

/** Return the place that the address names. */
function place() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const found = Object.fromEntries(new URLSearchParams(query));
  return { ...found, view: VIEWS.includes(path) ? path : 'overview', run: Number(found.run) || 0 };
}

/** Return the address of a place; what is empty is left out. */
function address({ view, ...rest }) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(rest)) if (value) query.set(key, value);
  return `#/${view}${query.size ? `?${query}` : ''}`;
}

/** Go to a place that differs from the present one by some changes. */
function go(changed, { replace = false } = {}) {
  const next = address({ ...place(), ...changed });
  if (next === location.hash) return;
  if (replace) {
    history.replaceState(null, '', next);
    dispatchEvent(new HashChangeEvent('hashchange'));
  } else location.hash = next;
}

