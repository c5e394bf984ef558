// The loop that the Node programs share: a request a line in, an answer a line out.
import { createInterface } from 'node:readline'

export class Unsupported extends Error {}

export const bytes = text => (text === null ? null : Buffer.from(text, 'base64'))
export const text = data => (data === null || data === undefined ? null : Buffer.from(data).toString('base64'))

export async function serve (handlers, errorOf) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { verb, ...request } = JSON.parse(line)
    let answer
    try {
      if (!handlers[verb]) throw new Unsupported(`the client has no ${verb.replaceAll('_', ' ')}`)
      answer = { ok: (await handlers[verb](request)) ?? {} }
    } catch (error) {
      if (error instanceof Unsupported) {
        answer = { unsupported: error.message }
      } else {
        console.error(error)
        answer = { error: errorOf(error) }
      }
    }
    process.stdout.write(JSON.stringify(answer, (_, value) => (typeof value === 'bigint' ? Number(value) : value)) + '\n')
  }
  process.exit(0)
}
