// Makes a fresh clone ready and then runs a script on the Node that the lockfile pins. Works on any Node >= 18, and is
// written so that far older ones can still read it and say what is wrong.
'use strict'

var major = Number(process.versions.node.split('.')[0])
if (major < 18) {
  console.error('Haechi needs Node.js 18 or newer to start its installation; this is ' + process.version + '.')
  process.exit(1)
}

var childProcess = require('node:child_process')
var crypto = require('node:crypto')
var fs = require('node:fs')
var path = require('node:path')

var root = path.resolve(__dirname, '..', '..')

function fail(text) {
  console.error(text)
  process.exit(1)
}

function digestOf(files) {
  var hash = crypto.createHash('sha256')
  files.forEach(function (file) {
    hash.update(path.relative(root, file)).update('\0').update(fs.readFileSync(file)).update('\0')
  })
  return hash.digest('hex')
}

function readText(file) {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch (error) {
    void error // An optional binding would not parse on Node 8, which shall get its sentence too.
    return ''
  }
}

function pinnedNode() {
  return path.join(root, 'node_modules', 'node-linux-' + process.arch, 'bin', 'node')
}

/** Whether somebody else (`npm ci`) has installed exactly what the lockfile says. */
function installedByHand() {
  var wanted
  var present
  try {
    wanted = JSON.parse(readText(path.join(root, 'package-lock.json'))).packages
    present = JSON.parse(readText(path.join(root, 'node_modules', '.package-lock.json'))).packages
  } catch (error) {
    void error
    return false
  }
  return Object.keys(wanted).every(function (name) {
    if (name === '') return true
    var there = present[name]
    // Optional packages are for other platforms; the pinned Node itself is looked for by its file.
    return there ? there.version === wanted[name].version && there.integrity === wanted[name].integrity : Boolean(wanted[name].optional)
  })
}

/** Installs what the lockfile says, unless exactly that is installed already. */
function install() {
  if (process.platform !== 'linux' || (process.arch !== 'x64' && process.arch !== 'arm64')) {
    fail('Haechi runs on Linux on x64 or arm64; this is ' + process.platform + ' on ' + process.arch + '.')
  }
  var stamp = path.join(root, 'node_modules', '.haechi-installed')
  var wanted = digestOf([path.join(root, 'package-lock.json'), path.join(root, 'package.json')])
  if (readText(stamp) === wanted && fs.existsSync(pinnedNode())) return
  if (fs.existsSync(pinnedNode()) && installedByHand()) {
    fs.writeFileSync(stamp, wanted)
    return
  }
  console.error('Installing the packages that package-lock.json pins (once, about half a minute) …')
  var npm = process.env.npm_execpath
  var command = npm && /\.c?js$/.test(npm) ? [process.execPath, npm] : ['npm']
  var result = childProcess.spawnSync(
    command[0],
    command.slice(1).concat(['ci', '--no-audit', '--no-fund', '--include=dev', '--include=optional', '--loglevel=error']),
    { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] },
  )
  if (result.error) fail('npm could not be started: ' + result.error.message + '. Install npm, then try again.')
  if (result.status !== 0) fail('npm ci failed (see above). Nothing was started.')
  if (!fs.existsSync(pinnedNode())) fail('npm did not install ' + path.relative(root, pinnedNode()) + '; was it run with --omit=optional?')
  fs.writeFileSync(stamp, wanted)
}

function filesBelow(folder, found) {
  fs.readdirSync(folder, { withFileTypes: true })
    .sort(function (a, b) {
      return a.name < b.name ? -1 : 1
    })
    .forEach(function (entry) {
      var full = path.join(folder, entry.name)
      if (entry.isDirectory()) {
        if (entry.name !== 'dist' && entry.name !== 'fixture' && entry.name !== 'node_modules') filesBelow(full, found)
      } else if (!/\.test\.ts$|\.md$/.test(entry.name)) found.push(full)
    })
  return found
}

/** Builds the web console, unless its sources are as they were at the last build. */
function buildConsole() {
  var webui = path.join(root, 'webui')
  var stamp = path.join(webui, 'dist', '.built')
  var sources = filesBelow(webui, []).concat([path.join(root, 'package-lock.json')])
  var wanted = digestOf(sources)
  if (readText(stamp) === wanted) return
  console.error('Building the web console (once) …')
  var result = childProcess.spawnSync(
    pinnedNode(),
    [path.join(root, 'node_modules', 'vite', 'bin', 'vite.js'), 'build', webui, '--logLevel', 'warn'],
    { cwd: root, stdio: ['ignore', 2, 2] },
  )
  if (result.status !== 0) fail('The web console could not be built (see above).')
  fs.writeFileSync(stamp, wanted)
}

/** Replaces this process as far as Node can: same terminal, signals passed on, same end. */
function run(script, args) {
  var bin = path.join(root, 'node_modules', '.bin')
  var env = Object.assign({}, process.env, { PATH: bin + path.delimiter + (process.env.PATH || '') })
  var child = childProcess.spawn(
    pinnedNode(),
    ['--disable-warning=ExperimentalWarning', path.join(root, script)].concat(args),
    { stdio: 'inherit', env: env },
  )
  ;['SIGINT', 'SIGTERM', 'SIGHUP'].forEach(function (signal) {
    process.on(signal, function () {
      // A terminal signals the whole group itself; sending SIGINT twice would read as "at once".
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
    })
  })
  child.on('error', function (error) {
    fail('The pinned Node.js could not be started: ' + error.message)
  })
  child.on('exit', function (code, signal) {
    if (signal) {
      process.removeAllListeners(signal)
      process.kill(process.pid, signal)
    } else process.exit(code === null ? 1 : code)
  })
}

exports.install = install
exports.buildConsole = buildConsole
exports.pinnedNode = pinnedNode
exports.run = run

if (require.main === module) {
  var target = process.argv[2]
  if (!target) fail('usage: node node/cli/bootstrap.cjs SCRIPT [ARGUMENT …]')
  install()
  buildConsole()
  run(target, process.argv.slice(3))
}
