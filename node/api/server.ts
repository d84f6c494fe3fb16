/**
 * The control API and the console of one node: the same routes on TCP, for people who have signed in, and on a unix
 * socket, for whoever owns the machine. See README.md.
 */
import { chmodSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname, relative, resolve } from 'node:path'
import fastifyCookie from '@fastify/cookie'
import fastifyHelmet from '@fastify/helmet'
import fastifyRateLimit from '@fastify/rate-limit'
import fastifySwagger from '@fastify/swagger'
import fastifySwaggerUi from '@fastify/swagger-ui'
import fastifyWebsocket from '@fastify/websocket'
import { Ajv } from 'ajv'
import fastify, { type FastifyInstance } from 'fastify'
import ipaddr from 'ipaddr.js'
import type { Log } from '../observe/log.ts'
import { certificateRoutes } from './certificates.ts'
import { clusterRoutes, metricsRoute } from './cluster.ts'
import { configRoutes } from './config.ts'
import { addConsole, notFound } from './console.ts'
import type { ApiListenOptions, NodeContext } from './context.ts'
import { type Access, addGuard } from './guard.ts'
import { type LiveLimits, liveLimits, liveRoutes } from './live.ts'
import { partRoutes } from './parts.ts'
import { errorHandler } from './problems.ts'
import { apiPrefix, type RouteOptions } from './routes.ts'
import { ApiProblem, namedSchemas } from './schemas.ts'
import { sessionRoutes } from './session.ts'
import { routeTestRoutes } from './route-test.ts'
import { sessionTableRoutes } from './session-table.ts'
import { SignedSessions } from './signed-session.ts'
import { SignInLimit, type SignInLimits, signInLimits } from './sign-in-limit.ts'
import { upgradeRoutes } from './upgrade.ts'
import { userRoutes } from './users.ts'

export interface Api {
  /** Where the API and the console are, such as `https://192.0.2.1:8443`. */
  readonly url: string
  close(): Promise<void>
}

/** What may be set otherwise than for production: tests make the limits small enough to reach. */
export interface ApiLimits {
  /** Requests a minute from one address (IPv6: one /64). */
  readonly requestsPerMinute: number
  readonly signIn: SignInLimits
  readonly live: LiveLimits
}

export const apiLimits: ApiLimits = { requestsPerMinute: 6000, signIn: signInLimits, live: liveLimits }

const maxBodyBytes = 64 * 1024
const maxConnections = 1000
/** sun_path of unix(7), without the final NUL. */
const maxSocketPathBytes = 107

/** Starts the API. Rejects when an address is in use, or when plain HTTP is wanted on an address that is not loopback. */
export async function createApi(
  context: NodeContext,
  listen: ApiListenOptions,
  log: Log,
  limits: ApiLimits = apiLimits,
): Promise<Api> {
  if (listen.tls === undefined && !isLoopback(listen.host)) {
    throw new Error(`the API does not serve plain HTTP on ${listen.host}: give it a certificate, or a loopback address`)
  }
  const shared = {
    context,
    log,
    sessions: new SignedSessions(() => sessionState(context)),
    signInLimit: new SignInLimit(limits.signIn),
    now: () => performance.now(),
  }
  const remote = await build({ ...shared, local: false, tls: listen.tls !== undefined }, listen, limits)
  const local = await build({ ...shared, local: true, tls: false }, listen, limits)
  try {
    await listenOnSocket(local, listen.socketPath)
    await remote.listen({ host: listen.host, port: listen.port })
  } catch (error) {
    await Promise.allSettled([remote.close(), closeLocal(local)])
    throw error
  }
  const address = remote.server.address()
  const port = typeof address === 'object' && address !== null ? address.port : listen.port
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host
  return {
    url: `${listen.tls === undefined ? 'http' : 'https'}://${host}:${port}`,
    close: async () => {
      await Promise.all([remote.close(), closeLocal(local)])
    },
  }
}

/** A route and who may use it. */
export interface RouteAccess {
  readonly method: string
  readonly url: string
  readonly access: Access
}

/** One instance with all routes, not listening yet. `seen` is told every route that the guard guards. */
export async function build(
  options: RouteOptions,
  listen: Pick<ApiListenOptions, 'tls' | 'consoleDirectory'>,
  limits: ApiLimits,
  seen?: (route: RouteAccess) => void,
): Promise<FastifyInstance> {
  const app = fastify({
    logger: false,
    bodyLimit: maxBodyBytes,
    forceCloseConnections: true,
    requestTimeout: 30_000,
    keepAliveTimeout: 65_000,
    routerOptions: { maxParamLength: 128, ignoreTrailingSlash: false },
    ...(listen.tls === undefined || options.local
      ? {}
      : { https: { cert: listen.tls.certificate, key: listen.tls.key, minVersion: 'TLSv1.2' as const } }),
  }) as FastifyInstance
  app.server.maxConnections = maxConnections
  app.removeContentTypeParser(['text/plain', 'application/json'])
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body: string, done) => {
    // Clients name a content type for a DELETE too; an empty body is no body.
    if (body === '') done(null, undefined)
    else parseJson(request, body, done)
  })
  app.setErrorHandler(errorHandler(options.log))
  app.setValidatorCompiler(validatorCompiler())
  app.setSerializerCompiler(() => (value) => JSON.stringify(value))
  for (const schema of namedSchemas) app.addSchema(schema)
  addRequestLog(app, options.log)

  await app.register(fastifyCookie)
  if (!options.local) {
    await addHeaders(app)
    await app.register(fastifyRateLimit, {
      max: limits.requestsPerMinute,
      timeWindow: 60_000,
      cache: 10_000,
      ipv6Subnet: 64,
      errorResponseBuilder: (_request, { ttl }) =>
        Object.assign(new Error('Too many requests from this address.'), { statusCode: 429, retryAfterMs: ttl }),
    })
  }
  await app.register(fastifyWebsocket, { options: { maxPayload: 1024, clientTracking: true } })
  if (!options.local) await addDocument(app, options.context.version)
  await app.register(async (guarded) => {
    addGuard(guarded, options)
    guarded.addHook('onRoute', (route) => {
      if (route.method !== 'HEAD')
        seen?.({ method: String(route.method), url: route.url, access: route.config?.access ?? 'public' })
    })
    guarded.addHook('onSend', async (_request, reply) => {
      if (!reply.hasHeader('cache-control')) void reply.header('cache-control', 'no-store')
    })
    await guarded.register(async (routes) => metricsRoute(routes, options))
    for (const routesOf of [sessionRoutes, clusterRoutes, upgradeRoutes, metricsRoute, userRoutes, certificateRoutes, sessionTableRoutes, configRoutes, partRoutes, routeTestRoutes]) {
      await guarded.register(async (routes) => routesOf(routes, options), { prefix: apiPrefix })
    }
    await guarded.register(async (routes) => liveRoutes(routes, options, limits.live), { prefix: apiPrefix })
  })
  if (options.local) app.setNotFoundHandler(notFound)
  else await addConsole(app, listen.consoleDirectory)
  await app.ready()
  return app
}

/** Query and path parameters are text and are turned into what the schema says; JSON bodies have to be right as they are.
 *  Bodies that are (parts of) the configuration document are left to node/config, which names fields and lines. */
function validatorCompiler() {
  const strict = new Ajv({ allErrors: true, useDefaults: true, strict: false })
  const lenient = new Ajv({ allErrors: true, useDefaults: true, coerceTypes: true, strict: false })
  return ({ schema, httpPart }: { schema: unknown; httpPart?: string }) => {
    if (httpPart === 'body' && typeof schema === 'object' && schema !== null && '$ref' in schema) return () => true
    return (httpPart === 'body' ? strict : lenient).compile(schema as object)
  }
}

/** Strict-Transport-Security is left out on purpose: the certificate comes from the cluster's own CA, and a browser that
 *  does not know it could then never be told to go on. */
async function addHeaders(app: FastifyInstance): Promise<void> {
  await app.register(fastifyHelmet, {
    hsts: false,
    referrerPolicy: { policy: 'no-referrer' },
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'self'"],
        scriptSrc: ["'self'"],
        // Mantine sets style attributes and adds style elements.
        styleSrc: ["'self'", "'unsafe-inline'"],
        imgSrc: ["'self'", 'data:'],
        fontSrc: ["'self'", 'data:'],
        connectSrc: ["'self'"],
        objectSrc: ["'none'"],
        baseUri: ["'none'"],
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
      },
    },
  })
}

/** The OpenAPI document and its page. Neither says anything that is not in the source: no sign-in. */
async function addDocument(app: FastifyInstance, version: string): Promise<void> {
  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Haechi',
        version,
        description: 'Control API of a Haechi cluster. Every node answers for the whole cluster.',
      },
      components: {
        securitySchemes: {
          session: {
            type: 'apiKey',
            in: 'cookie',
            name: 'haechi_session',
            description: 'Changes also need the X-CSRF-Token header.',
          },
          token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
        },
      },
    },
    refResolver: {
      buildLocalReference: (json, _baseUri, _fragment, i) => (typeof json.$id === 'string' ? json.$id : `def-${i}`),
    },
    transform: ({ schema, url, route }) => {
      const access = route.config?.access
      const security = access === 'public' ? [] : [{ session: [] }, { token: [] }]
      const problem = {
        description: 'Problem (RFC 9457)',
        content: { 'application/problem+json': { schema: ApiProblem } },
      }
      return {
        url,
        schema: {
          ...schema,
          // The WebSocket plugin hides its routes; this one is part of the interface.
          ...(access === undefined
            ? {}
            : { hide: false, security, description: describe(schema?.description, access) }),
          response: { ...(schema?.response as object | undefined), '4xx': problem, '5xx': problem },
        },
      }
    },
  })
  await app.register(fastifySwaggerUi, { routePrefix: '/api/docs', staticCSP: true, uiConfig: { deepLinking: true } })
}

function describe(text: string | undefined, access: string): string {
  const who =
    access === 'public'
      ? 'No sign-in.'
      : access === 'session'
        ? 'Anyone signed in.'
        : `Role: ${access === 'metrics' ? 'viewer' : access}.`
  return text === undefined ? who : `${text} ${who}`
}

/** One line for every change and every failure of the server's own; reads are for debugging. No query, no body. */
function addRequestLog(app: FastifyInstance, log: Log): void {
  app.addHook('onResponse', async (request, reply) => {
    const read = request.method === 'GET' || request.method === 'HEAD' || request.method === 'OPTIONS'
    const level = reply.statusCode >= 500 ? 'warn' : read ? 'debug' : 'info'
    log(level, 'request', {
      method: request.method,
      path: request.url.split('?')[0]!.slice(0, 200),
      status: reply.statusCode,
      user: request.identity?.name ?? '',
      from: request.ip ?? '',
      ms: Math.round(reply.elapsedTime),
    })
  })
}

function sessionState(context: NodeContext): ReturnType<ConstructorParameters<typeof SignedSessions>[0]> {
  const state = context.state()
  return { secrets: state.secrets, clusterId: state.clusterId, user: (name) => state.user(name) }
}

function isLoopback(host: string): boolean {
  if (host === 'localhost') return true
  return ipaddr.isValid(host) && ipaddr.process(host).range() === 'loopback'
}

/** The shorter of the absolute path and the one from the working directory: a socket's path has a small limit. */
export function shortSocketPath(path: string): string {
  const absolute = resolve(path)
  const fromHere = relative(process.cwd(), absolute)
  return fromHere.length < absolute.length ? fromHere : absolute
}

async function listenOnSocket(app: FastifyInstance, socketPath: string): Promise<void> {
  const path = shortSocketPath(socketPath)
  if (Buffer.byteLength(path) > maxSocketPathBytes) {
    throw new Error(
      `the path of the unix socket is too long (${Buffer.byteLength(path)} bytes, at most ${maxSocketPathBytes}): ${path}`,
    )
  }
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  await removeStaleSocket(path)
  // Made unreadable for others from its first moment on, not only after a chmod.
  const before = process.umask(0o177)
  try {
    app.server.listen(path)
  } finally {
    process.umask(before)
  }
  await new Promise<void>((listening, failed) => {
    app.server.once('listening', listening)
    app.server.once('error', failed)
  })
  chmodSync(path, 0o600)
}

/** A socket that a dead process left is removed; one that answers, or a file that is no socket, is an error. */
async function removeStaleSocket(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isSocket()) throw new Error(`${path} is in the way: it is not a socket`)
  const alive = await new Promise<boolean>((done) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      done(true)
    })
    socket.once('error', () => done(false))
  })
  if (alive) throw new Error(`another process listens on ${path}: is this node running already?`)
  unlinkSync(path)
}

/** Fastify closes only what it has opened itself. */
async function closeLocal(app: FastifyInstance): Promise<void> {
  const closed = new Promise<void>((done) => (app.server.listening ? app.server.close(() => done()) : done()))
  app.server.closeAllConnections()
  await app.close()
  await closed
}
