/** Users: who may sign in, and as what. */
import type { FastifyInstance } from 'fastify'
import { type Static, Type } from 'typebox'
import type { StoredUser } from '../state/types.ts'
import { submit } from './change.ts'
import { actorOf } from './guard.ts'
import { hashPassword, passwordProblem } from './password.ts'
import { problem } from './problems.ts'
import type { RouteOptions } from './routes.ts'
import { UserBody, UserParameter, UserView } from './schemas.ts'
import { checked } from './session.ts'
import type { UserView as UserViewType } from './types.ts'

/** Names that the audit log gives to something other than a user. */
const reservedNames: ReadonlySet<string> = new Set(['local', 'system', 'unknown', 'join-token'])

const view = (user: StoredUser): UserViewType => ({
  name: user.name,
  role: user.role,
  mustChangePassword: user.mustChangePassword,
})

export function userRoutes(app: FastifyInstance, options: RouteOptions): void {
  const { context } = options

  app.get(
    '/users',
    {
      config: { access: 'administrator' },
      schema: { tags: ['users'], summary: 'All users', response: { 200: Type.Array(UserView) } },
    },
    () => context.state().users.map(view),
  )

  app.put<{ Params: Static<typeof UserParameter>; Body: Static<typeof UserBody> }>(
    '/users/:name',
    {
      config: { access: 'administrator' },
      schema: {
        tags: ['users'],
        summary: 'Add a user, or change role or password of one',
        description: 'Ends all sessions of the user.',
        params: UserParameter,
        body: UserBody,
        response: { 200: UserView, 201: UserView },
      },
    },
    async (request, reply) => {
      const { name } = request.params
      const { role, password, mustChangePassword } = request.body
      const known = context.state().user(name)
      if (known === undefined && reservedNames.has(name)) {
        return problem(reply, 'invalid-request', `The name ${name} is reserved.`, {
          problems: [{ field: '/params/name', message: 'is reserved' }],
        })
      }
      const missing =
        known === undefined
          ? Object.entries({ role, password }).find(([, value]) => value === undefined)?.[0]
          : undefined
      if (missing !== undefined) {
        return problem(reply, 'invalid-request', `A new user needs a ${missing}.`, {
          problems: [{ field: `/${missing}`, message: 'is required' }],
        })
      }
      const fault = password === undefined ? undefined : passwordProblem(password, name)
      if (fault !== undefined) {
        return problem(reply, 'invalid-request', `The password ${fault}.`, {
          problems: [{ field: '/password', message: fault }],
        })
      }
      const passwordHash = password === undefined ? known?.passwordHash : await checked(hashPassword(password), reply)
      if (passwordHash === undefined) return reply
      const user: StoredUser = {
        name,
        role: role ?? known?.role ?? 'viewer',
        passwordHash,
        mustChangePassword:
          mustChangePassword ?? (password === undefined ? (known?.mustChangePassword ?? false) : true),
        // A user who is made anew must not inherit the sessions of a namesake: its count starts beyond any reached before.
        generation: known === undefined ? Date.now() : known.generation + 1,
      }
      const outcome = await submit(context, { kind: 'user-put', actor: actorOf(request, context), user }, reply)
      if (outcome === undefined) return reply
      return reply.code(known === undefined ? 201 : 200).send(view(context.state().user(name) ?? user))
    },
  )

  app.delete<{ Params: Static<typeof UserParameter> }>(
    '/users/:name',
    {
      config: { access: 'administrator' },
      schema: { tags: ['users'], summary: 'Remove a user', params: UserParameter, response: { 204: { type: 'null' } } },
    },
    async (request, reply) => {
      const { name } = request.params
      const outcome = await submit(context, { kind: 'user-delete', actor: actorOf(request, context), name }, reply)
      return outcome === undefined ? reply : reply.code(204).send()
    },
  )
}
