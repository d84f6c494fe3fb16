#!/usr/bin/env node
// The `haechi` command as npm links it: starts the real one (main.ts) on the Node that the lockfile pins.
'use strict'
var bootstrap = require('./bootstrap.cjs')
var fs = require('node:fs')
if (!fs.existsSync(bootstrap.pinnedNode())) bootstrap.install()
bootstrap.run('node/cli/main.ts', process.argv.slice(2))
