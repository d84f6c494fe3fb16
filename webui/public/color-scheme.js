// Sets the colour scheme before the first paint. A file of its own, so that no inline script has to be allowed.
;(() => {
  let kept = null
  try {
    kept = localStorage.getItem('haechi.theme')
  } catch {
    // Storage may be forbidden; then the system's scheme is used.
  }
  const dark = kept === 'dark' || (kept !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches)
  document.documentElement.setAttribute('data-mantine-color-scheme', dark ? 'dark' : 'light')
})()
