/* Python with SymPy, in a thread of its own, so that a page stays alive and a run can be ended. What it needs comes from the
   site itself: Pyodide from its folder, SymPy, mpmath and labs from what the build has packed. */
const pyodideFolder = new URL("../pyodide/", import.meta.url).href;
const packages = "/packages";

const RUNNER = `
import ast, contextlib, io, sys, traceback

def run_cell(before, code):
    """What a cell prints, the value of its last line as LaTeX or text, and its error."""
    printed, space, shown, latex, error = io.StringIO(), {"__name__": "__main__"}, "", "", ""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(before, "earlier cells", "exec"), space)
        with contextlib.redirect_stdout(printed):
            tree = ast.parse(code, "this cell")
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, "this cell", "exec"), space)
            value = eval(compile(ast.Expression(last.value), "this cell", "eval"), space) if last else None
        if value is not None:
            latex = getattr(value, "_repr_latex_", lambda: "")() or ""
            shown = repr(value)
    except BaseException as failure:
        where = [s.lineno for s in traceback.extract_tb(failure.__traceback__) if s.filename == "this cell"]
        line = where[-1] if where else getattr(failure, "lineno", None)
        text = code.splitlines()[line - 1].strip() if line and line <= len(code.splitlines()) else ""
        error = f"{type(failure).__name__}{f' in line {line}: {text}' if text else ''}"
        error += f" ({failure})" if str(failure) else ""
    return {"printed": printed.getvalue(), "latex": latex, "shown": shown, "error": error}
`;

let python = null;

async function start(files) {
  const total = Object.values(files).reduce((sum, size) => sum + size, 0), plain = self.fetch.bind(self);
  let done = 0;
  /** A file's bytes as they come, counted on the wire. */
  const counted = async (url) => {
    const answer = await plain(url);
    if (!answer.ok) throw new Error(`${answer.status} for ${url}`);
    return answer.body.pipeThrough(new TransformStream({
      transform(chunk, controller) {
        done += chunk.byteLength;
        postMessage({ kind: "loading", done, total });
        controller.enqueue(chunk);
      },
    }));
  };
  const bytes = async (url) => new Uint8Array(await new Response(await counted(url)).arrayBuffer());
  self.fetch = async (what, options) => { // Pyodide asks for its parts by itself
    const url = String(what.url ?? what);
    if (url.endsWith(".wasm")) {
      const body = (await counted(`${url}.gz`)).pipeThrough(new DecompressionStream("gzip"));
      return new Response(body, { headers: { "Content-Type": "application/wasm" } });
    }
    return url.endsWith(".zip") ? new Response(await counted(url)) : plain(what, options);
  };
  const { loadPyodide } = await import(`${pyodideFolder}pyodide.mjs`);
  const archives = Object.keys(files).filter((url) => !url.startsWith(pyodideFolder)).map(async (url) => [url.split("/").at(-1), await bytes(url)]);
  const pyodide = await loadPyodide({ indexURL: pyodideFolder });
  pyodide.FS.mkdir(packages);
  for (const [name, content] of await Promise.all(archives)) {
    pyodide.FS.writeFile(`${packages}/${name}`, content);
    pyodide.runPython(`import sys; sys.path.append(${JSON.stringify(`${packages}/${name}`)})`);
  }
  postMessage({ kind: "starting" });
  pyodide.runPython(`${RUNNER}\nimport sympy`);
  return pyodide;
}

addEventListener("message", async ({ data }) => {
  try {
    python ??= start(data.files);
    const pyodide = await python;
    postMessage({ kind: "running" });
    const run = pyodide.globals.get("run_cell"), result = run(data.before, data.code);
    postMessage({ kind: "ran", ...result.toJs({ dict_converter: Object.fromEntries }) });
  } catch (failure) {
    python = null;
    postMessage({ kind: "failed", why: failure.message });
  }
});
