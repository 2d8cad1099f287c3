// Renders the formulas given on standard input, as JSON, with the KaTeX whose path is the argument.
const katex = require(process.argv[2]), {macros, items} = JSON.parse(require('fs').readFileSync(0, 'utf8'))
const render = ([tex, displayMode]) => {
  const options = {displayMode, macros: {...macros}, throwOnError: true, strict: 'ignore'}
  try { return {html: katex.renderToString(tex, options).replace(/(style=")height:-[\d.]+em;/g, '$1')} } // CSS knows none
  catch (error) { return {error: error.message} } }
process.stdout.write(JSON.stringify(items.map(render)))
