/** Which route a request would take, by the configuration in force: for operators who wonder, and for scripts that test routes. */
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Static } from 'typebox'
import { readAddress } from '../config/address.ts'
import { explainRoute } from '../proxy/explain.ts'
import { problem } from './problems.ts'
import type { RouteOptions } from './routes.ts'
import { RouteTestBody, RouteTestView } from './schemas.ts'
import type { RouteTestView as View } from './types.ts'

export function routeTestRoutes(app: FastifyInstance, { context }: RouteOptions): void {
  app.post<{ Body: Static<typeof RouteTestBody> }>(
    '/route-test',
    {
      config: { access: 'viewer' },
      schema: {
        tags: ['configuration'],
        summary: 'Which route a request would take, and why not another one; nothing is sent',
        body: RouteTestBody,
        response: { 200: RouteTestView },
      },
    },
    (request, reply): View | FastifyReply => {
      const { document } = context.state()
      const { listener: name, method = 'GET', target = '/', host, headers = [], source = '192.0.2.1' } = request.body
      const listener = document.listeners.find((one) => one.name === name)
      if (listener === undefined) return problem(reply, 'not-found', `There is no listener named ${JSON.stringify(name)}.`)
      if (listener.protocol !== 'http' && listener.protocol !== 'https') {
        return problem(reply, 'invalid-request', 'Only listeners that speak HTTP have routes.', { problems: [{ field: '/listener', message: `is of protocol ${listener.protocol}` }] })
      }
      const address = readAddress(source)
      if (!address.ok) return problem(reply, 'invalid-request', 'The address of the client is not one.', { problems: [{ field: '/source', message: `expected ${address.expected}` }] })
      return explainRoute(document, listener, { method, target, host, headers, source: address.address })
    },
  )
}
