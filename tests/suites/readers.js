// Takes paths of messages from standard input, one a line, and prints for each one line of JSON:
// [[name, content in base64], ...], as the reader that the command line names (mailparser or postal-mime) gives it.
'use strict';
const fs = require('fs');
const readline = require('readline');

const reader = process.argv[2];
const loaded = require(reader);

async function byMailparser(raw) {
  const mail = await loaded.simpleParser(raw);
  const found = mail.attachments.map((a) => [a.filename || '', a.content]);
  for (const text of [mail.text, mail.html]) if (text) found.push(['', Buffer.from(text, 'latin1')]);
  return found;
}

async function byPostalMime(raw) {
  const PostalMime = loaded.default || loaded;
  const mail = await new PostalMime().parse(raw);
  const found = mail.attachments.map((a) => [a.filename || '', Buffer.from(a.content)]);
  for (const text of [mail.text, mail.html]) if (text) found.push(['', Buffer.from(text, 'latin1')]);
  return found;
}

(async () => {
  for await (const path of readline.createInterface({ input: process.stdin })) {
    let found = [];
    try {
      found = await (reader === 'mailparser' ? byMailparser : byPostalMime)(fs.readFileSync(path));
    } catch {
      // A reader that gives up shows nothing.
    }
    process.stdout.write(JSON.stringify(found.map(([name, content]) => [name, content.toString('base64')])) + '\n');
  }
})();
