// The sizes of both signals, layer by layer, for the settings given on standard input, by the live figure's own script.
const code = require("fs").readFileSync(process.argv[2], "utf8"), states = JSON.parse(require("fs").readFileSync(0, "utf8"))
const signal = new Function(`${code}; return liveSignal`)()
const sizes = state => { const net = signal.netMaker()(state), { forward, backward } = signal.propagate(net)
  const theory = signal.predict(net)
  return { forward, backward, "theory forward": theory.forward, "theory backward": theory.backward } }
process.stdout.write(JSON.stringify(states.map(sizes), (_, v) => v?.buffer ? [...v] : v))
