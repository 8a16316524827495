// The same agent as agent.py, by the TypeScript SDK.

import { Readable, Writable } from "node:stream";
import * as acp from "@agentclientprotocol/sdk";

const { agent, client } = acp.methods;
const options = [
  { optionId: "yes", name: "Allow", kind: "allow_once" },
  { optionId: "no", name: "Reject", kind: "reject_once" },
];
const text = (words) => ({ type: "text", text: words });

async function prompt({ params, client: peer }) {
  const { sessionId } = params;
  const tell = (update) => peer.notify(client.session.update, { sessionId, update });
  await tell({ sessionUpdate: "agent_thought_chunk", content: text("Which files?") });
  for (const word of ["You said: ", params.prompt[0].text])
    await tell({ sessionUpdate: "agent_message_chunk", content: text(word) });
  const call = { toolCallId: "call-1" };
  await tell({ sessionUpdate: "tool_call", ...call, title: "Write a file", kind: "edit", status: "pending" });
  const { outcome } = await peer.request(client.session.requestPermission, { sessionId, toolCall: call, options });
  const status = outcome.optionId === "yes" ? "completed" : "failed";
  const content = [{ type: "content", content: text("written") }];
  await tell({ sessionUpdate: "tool_call_update", ...call, status, content });
  await tell({ sessionUpdate: "agent_message_chunk", content: text("Done.") });
  return { stopReason: "end_turn" };
}

acp
  .agent({ name: "sdk-agent" })
  .onRequest(agent.initialize, ({ params }) => ({
    protocolVersion: params.protocolVersion,
    agentInfo: { name: "sdk-agent", version: "1.0" },
  }))
  .onRequest(agent.session.new, ({ params }) => ({ sessionId: `of ${params.cwd}` }))
  .onRequest(agent.session.prompt, prompt)
  .connect(acp.ndJsonStream(Writable.toWeb(process.stdout), Readable.toWeb(process.stdin)));
