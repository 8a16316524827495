// The same client as client.py, by the TypeScript SDK: node client.mjs AGENT [ARG...]

import { spawn } from "node:child_process";
import { Readable, Writable } from "node:stream";
import * as acp from "@agentclientprotocol/sdk";

const { agent, client } = acp.methods;
const [program, ...words] = process.argv.slice(2);
const child = spawn(program, words, { stdio: ["pipe", "pipe", "inherit"] });
const ended = new Promise((done) => child.on("exit", done));
const heard = [];

const told = await acp
  .client({ name: "sdk-client" })
  .onRequest(client.session.requestPermission, ({ params }) => {
    heard.push(["asked", params.toolCall.toolCallId]);
    return { outcome: { outcome: "selected", optionId: params.options[0].optionId } };
  })
  .onNotification(client.session.update, ({ params: { update } }) => {
    heard.push([update.sessionUpdate, update.content?.text ?? null]);
  })
  .connectWith(acp.ndJsonStream(Writable.toWeb(child.stdin), Readable.toWeb(child.stdout)), async (peer) => {
    const begun = await peer.request(agent.initialize, { protocolVersion: acp.PROTOCOL_VERSION, clientCapabilities: {} });
    const { sessionId } = await peer.request(agent.session.new, { cwd: process.cwd(), mcpServers: [] });
    const prompt = [{ type: "text", text: "Grüße, 世界" }];
    const done = await peer.request(agent.session.prompt, { sessionId, prompt });
    return { agent: begun.agentInfo.name, heard, stop: done.stopReason };
  });
child.stdin.end();
await ended;
console.log(JSON.stringify(told));
