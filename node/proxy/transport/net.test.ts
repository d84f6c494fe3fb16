import { contract } from './contract.ts'
import { createNetTransport } from './net.ts'

contract('net', createNetTransport)
