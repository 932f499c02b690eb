/* What DCC Boxed's Node-RED nodes do on the wire, for a test: requests by POST, three seconds to answer; responses at
   an endpoint that takes application/xml up to 100 kB, reads each with @smartdcc/duis-parser and says 204, or 400.
   Started in the folder of the npm packages. In (stdin): {"path", "xml"} a line. Out: a line of JSON for each thing
   that happens. FAILURES: what to do with the first attempts of the n-th response, for example [["500"], ["cut"], []]. */

const http = require('http');
const readline = require('readline');
const { parseDuis } = require('@smartdcc/duis-parser');

const TIMEOUT_MS = 3000;
const LIMIT = 100 * 1024;
const failures = JSON.parse(process.env.FAILURES || '[[]]');
const home = process.env.HOME_URL;

const say = (what) => process.stdout.write(JSON.stringify(what, (_, v) => (typeof v === 'bigint' ? `${v}` : v)) + '\n');
const name = (id) => id && `${id.originatorId}:${id.targetId}:${id.counter}`;

const waiting = new Set(); // requests that got I99, as the nodes remember them
const plans = new Map(); // by response: failures still to come

function judge(body) {
  const header = parseDuis('simplified', body).header;
  if (header.type !== 'response') throw new Error('not a response');
  return header;
}

const server = http.createServer((request, answer) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(chunks).toString('utf8');
    const end = (status) => { answer.statusCode = status; answer.end(); };
    if (!/^application\/xml\b/.test(request.headers['content-type'] || '')) return end(404);
    if (body.length > LIMIT) return end(413);
    let header;
    try {
      header = judge(body);
    } catch (error) {
      say({ unreadable: `${error}` });
      return end(400);
    }
    const id = name(header.responseId);
    if (!plans.has(id)) plans.set(id, [...failures[plans.size % failures.length]]);
    const failure = plans.get(id).shift();
    if (failure !== undefined) {
      say({ failed: failure });
      return failure === 'cut' ? request.socket.destroy() : end(Number(failure));
    }
    const asked = name(header.requestId);
    end(204);
    say({ response: id, request: asked, code: header.responseCode, expected: !asked || waiting.delete(asked) });
  });
});

function send({ path, xml }) {
  const began = process.hrtime.bigint();
  const request = http.request(home + path, { method: 'POST', headers: { 'Content-Type': 'application/xml' } }, (answer) => {
    const chunks = [];
    answer.on('data', (chunk) => chunks.push(chunk));
    answer.on('end', () => {
      const ms = Number(process.hrtime.bigint() - began) / 1e6;
      if (answer.statusCode !== 200) return say({ refused: answer.statusCode });
      if (!/^application\/xml\b/.test(answer.headers['content-type'] || '')) return say({ refused: 'content type' });
      const header = judge(Buffer.concat(chunks).toString('utf8'));
      if (header.responseCode === 'I99') waiting.add(name(header.requestId));
      say({ answer: header.responseCode, request: name(header.requestId), ms });
    });
  });
  request.setTimeout(TIMEOUT_MS, () => request.destroy(new Error('timeout')));
  request.on('error', (error) => say({ refused: `${error}` }));
  request.end(xml);
}

server.listen(Number(process.env.PORT || 0), '127.0.0.1', () => say({ port: server.address().port }));
readline.createInterface({ input: process.stdin }).on('line', (line) => send(JSON.parse(line))).on('close', () => process.exit(0));
