import { readFileSync } from 'node:fs';

import { assert, AssertionFailure, OperatingError, toOperatingError } from '@robustmq/core';
import { Command } from 'commander';
import { parse } from 'yaml';

import { kickClients, listClients, showClient } from './commands/client.ts';
import { runDev } from './commands/dev.ts';
import { drainJournal, removeJournal } from './commands/journal-removal.ts';
import { listJournals } from './commands/journal.ts';
import { runRebuild } from './commands/rebuild.ts';
import { clearRetained, listRetained } from './commands/retained.ts';
import { scrubJournals } from './commands/scrub.ts';
import { runBroker, runJournal, runPlacement } from './commands/role.ts';
import { listSlowClients } from './commands/slow-clients.ts';
import { describeShards, sealShard } from './commands/shard.ts';
import { runStart } from './commands/start.ts';
import { runStatus } from './commands/status.ts';
import { listSubscriptions } from './commands/subscription.ts';
import { traceClient, traceTopic } from './commands/trace.ts';
import { createTopic, deleteTopics, describeTopic, listTopics } from './commands/topic.ts';
import {
  defaultOf,
  environmentName,
  type Options,
  optionsOf,
  resolveOptions,
  type Role,
  rowOf,
} from './options.ts';

/** The `robustmq` command. `args` is what stands after its name. */
export async function main(args: readonly string[]): Promise<void> {
  process.on('uncaughtException', dieOfBug);
  process.on('unhandledRejection', dieOfBug);
  try {
    await program().parseAsync(args, { from: 'user' });
  } catch (thrown) {
    if (thrown instanceof AssertionFailure) dieOfBug(thrown);
    console.error(`robustmq: ${toOperatingError(thrown).message}`);
    process.exit(1);
  }
}

/** A bug ends the process: its leases end and another node takes over. */
function dieOfBug(thrown: unknown): never {
  console.error('robustmq: ended by a bug; please report this with what happened before', thrown);
  process.exit(70);
}

/** commander's errors as everybody else's: in one line. */
function oneLine(text: string): string {
  const message = text.trim().replace(/^error: /, '');
  return `robustmq: ${message.replaceAll(/\s*\n\s*/g, ' ')}; see "robustmq --help"\n`;
}

function program(): Command {
  const root = new Command('robustmq')
    .description('One log, many protocols: MQTT brokers over replicated journals.')
    .enablePositionalOptions()
    .configureOutput({ outputError: (text, write) => write(oneLine(text)) });
  role(root, 'start', 'placement, journal and broker in one process', runStart);
  role(root, 'broker', 'a broker: speaks to clients, holds no state', runBroker);
  role(root, 'journal', 'a journal: owns segment files', runJournal);
  role(root, 'placement', 'placement: knows who owns what', runPlacement);
  role(root, 'dev', 'a cluster of six processes on this machine, for trying things out', runDev);
  admin(root, 'status', 'nodes, topics, chains, lag and coordinators')
    .option('--json', 'as JSON')
    .option('--internal', 'internal topics, too')
    .action(withOptions('admin', runStatus));
  const topic = root.command('topic').description('topics');
  admin(topic, 'create', 'create a topic')
    .argument('<name>')
    .option('--partitions <n>', 'number of partitions', '1')
    .option('--set <key=value>', 'a setting, for example retention.ms=3600000; repeatable', collect)
    .action(withOptions('admin', createTopic));
  admin(topic, 'list', 'list topics')
    .option('--json', 'as JSON')
    .option('--internal', 'internal topics, too')
    .action(withOptions('admin', listTopics));
  admin(topic, 'describe', 'settings, partitions, their chains and who needs what')
    .argument('<name>')
    .option('--json', 'as JSON')
    .action(withOptions('admin', describeTopic));
  admin(topic, 'delete', 'delete topics with all their records')
    .argument('<name...>')
    .action(withOptions('admin', deleteTopics));
  journalCommands(root);
  shardCommands(root);
  clientCommands(root);
  traceCommands(root);
  messageCommands(root);
  retainedCommands(root);
  clusterCommands(root);
  accessCommands(root);
  rebuildCommand(root);
  return root;
}

/** A role that has subcommands, too: options behind one of those are the subcommand's. */
function roleCommand(root: Command, name: Role): Command {
  const command = root.commands.find((candidate) => candidate.name() === name);
  assert(command !== undefined, `${name} is a role`);
  return command.enablePositionalOptions();
}

function journalCommands(root: Command): void {
  const journal = roleCommand(root, 'journal');
  admin(journal, 'list', 'journals, with what each says of itself')
    .option('--json', 'as JSON')
    .action(withOptions('admin', listJournals));
  admin(journal, 'drain', 'take a journal out of use, and show what is left until nothing is')
    .argument('<node>')
    .option('--cancel', 'take the order back')
    .option('--no-wait', 'only give the order')
    .action(withOptions('admin', drainJournal));
  admin(journal, 'remove', 'forget a journal that is drained or gone, for good')
    .argument('<node>')
    .option('--yes', 'do not ask')
    .action(withOptions('admin', removeJournal));
  admin(journal, 'scrub', 'have the sealed replicas read again now, and show what is damaged')
    .option('--node <node>', 'of this journal alone (default: of all that are up)')
    .option('--no-wait', 'only give the order')
    .option('--no-begin', 'only show how far it is')
    .action(withOptions('admin', scrubJournals));
}

function rebuildCommand(root: Command): void {
  const command = roleCommand(root, 'placement')
    .command('rebuild')
    .description("make placement's store anew from the journals, after it was lost");
  addOptions(command, 'rebuild');
  command
    .option('--journal <host:port>', 'a journal; it names the others; repeatable', collect)
    .option('--allow-missing <node>', 'a journal that will never come back; repeatable', collect)
    .option('--accept-loss', 'begin chains behind records that nobody has')
    .option('--force', 'replace what is in the folder; it is kept beside it')
    .option('--dry-run', 'only say what would be done')
    .option('--yes', 'do not ask')
    .action(withOptions('rebuild', runRebuild));
}

function shardCommands(root: Command): void {
  const shard = root
    .command('shard')
    .description('partitions as they are stored: chains of segments');
  admin(shard, 'describe', 'the chain of segments, and what each journal has of them')
    .argument('<topic[/partition]>')
    .option('--json', 'as JSON')
    .action(withOptions('admin', describeShards));
  admin(shard, 'seal', 'end the open segment now')
    .argument('<topic/partition>')
    .option('--unsafe', 'also with too few replicas; says before what may be lost, and asks')
    .option('--yes', 'do not ask')
    .action(withOptions('admin', sealShard));
}

/** MQTT clients that are connected, at whatever broker. */
function clientCommands(root: Command): void {
  const client = root.command('client').description('MQTT clients that are connected');
  narrowed(admin(client, 'list', 'clients, where they come from and how far they are')).action(
    withOptions('admin', listClients),
  );
  admin(client, 'show', 'one client, with its subscriptions')
    .argument('<client-id>')
    .option('--limit <n>', 'most subscriptions', '1000')
    .option('--json', 'as JSON')
    .action(withOptions('admin', showClient));
  admin(client, 'slow', 'clients that get their messages late, the slowest first')
    .option('--limit <n>', 'most clients', '20')
    .option('--json', 'as JSON')
    .action(withOptions('admin', listSlowClients));
  admin(client, 'kick', 'end the connections of clients; their sessions stay')
    .argument('<client-id...>')
    .action(withOptions('admin', kickClients));
  const subscription = root.command('subscription').description('MQTT subscriptions');
  narrowed(admin(subscription, 'list', 'subscriptions of clients that are connected'))
    .option('--filter <pattern>', 'topic filters like this; * stands for any characters')
    .action(withOptions('admin', listSubscriptions));
}

function traceCommands(root: Command): void {
  const trace = root.command('trace').description('MQTT packets as they come and go');
  traced(admin(trace, 'client', 'the packets of a client, at whatever broker'))
    .argument('<client-id>')
    .action(withOptions('admin', traceClient));
  traced(admin(trace, 'topic', 'publishes to topics and subscriptions to them, at all brokers'))
    .argument('<filter>')
    .action(withOptions('admin', traceTopic));
}

function traced(command: Command): Command {
  return command
    .option('--for <time>', 'how long, for example 60s', '60s')
    .option('--file <file>', 'append to this file (default: standard output)')
    .option('--payload', 'show payloads, the first KiB of each, and not their sizes alone');
}

/** MQTT clients: what they need is loaded with them alone. */
function messageCommands(root: Command): void {
  const publish = root.command('publish').description('publish MQTT messages');
  clientFlags(publish)
    .argument('<topic>')
    .option('-m, --message <text>', 'the payload (default: all of standard input)')
    .option('-l, --lines', 'a message from each line of standard input')
    .option('-q, --qos <n>', '0, 1 or 2', '0')
    .option('-r, --retain', 'keep it as the retained message of the topic')
    .option('-c, --count <n>', 'publish it so many times')
    .action(async (_topic: unknown, flags: Record<string, unknown>, command: Command) => {
      const { runPublish } = await import('./commands/publish.ts');
      await runPublish({ arguments: command.args, flags });
    });
  const subscribe = root.command('subscribe').description('print MQTT messages');
  clientFlags(subscribe)
    .argument('<filter...>')
    .option('-q, --qos <n>', '0, 1 or 2', '0')
    .option('-c, --count <n>', 'end after so many messages')
    .option('-v, --verbose', 'the topic in front of each message')
    .option('--no-retained', 'only what is published from now on')
    .option('--json', 'a JSON object for each message')
    .action(async (_filters: unknown, flags: Record<string, unknown>, command: Command) => {
      const { runSubscribe } = await import('./commands/subscribe.ts');
      await runSubscribe({ arguments: command.args, flags });
    });
}

function clientFlags(command: Command): Command {
  return command
    .option('--url <url>', 'mqtt://, mqtts://, ws:// or wss://HOST:PORT', 'mqtt://127.0.0.1:1883')
    .option('-i, --client-id <id>', 'client id (default: the broker makes one)')
    .option('-u, --user <name>', 'user name')
    .option('-P, --password-file <file>', 'a file with the password in its first line')
    .option('--ca <file>', "authorities that the broker's certificate must come from, in PEM")
    .option('--cert <file>', 'certificate to show to the broker, in PEM; needs --key')
    .option('--key <file>', 'private key of --cert, in PEM');
}

function retainedCommands(root: Command): void {
  const retained = root.command('retained').description('retained MQTT messages');
  admin(retained, 'list', 'retained messages of the cluster')
    .argument('[topic-filter]', 'MQTT topic filter or name (default "#")')
    .option('--limit <n>', 'most rows', '1000')
    .option('--json', 'as JSON')
    .action(withOptions('admin', listRetained));
  admin(retained, 'clear', 'clear retained messages; subscribers get the empty messages')
    .argument('<topic-filter>', 'MQTT topic filter or name')
    .option('--yes', 'do not ask')
    .action(withOptions('admin', clearRetained));
}

/** A list of clients, or of what is theirs. */
function narrowed(command: Command): Command {
  return command
    .option('--client-id <pattern>', 'client ids like this; * stands for any characters')
    .option('--user <name>', 'of this user')
    .option('--address <ip>', 'from this IP address or network, for example 10.0.0.0/8')
    .option('--limit <n>', 'most rows', '1000')
    .option('--json', 'as JSON');
}

function clusterCommands(root: Command): void {
  root
    .command('cluster')
    .description('the cluster itself')
    .command('certs')
    .description('make an authority and certificates for TLS between the tiers')
    .argument(
      '[role/name=host,host...]',
      'for example journal/journal-1=10.0.0.2; roles: placement, journal, broker, operator',
    )
    .option('--out <dir>', 'folder of the authority and the certificates', './certs')
    .option('--cluster <name>', 'name of the cluster [default robustmq]')
    .option('--days <n>', 'how long the certificates are valid', '365')
    .option('--renew', 'make new ones for those that are there: the named, or all')
    .action(async (_names: unknown, flags: Record<string, unknown>, command: Command) => {
      // Loaded here alone: it takes longer than all the rest.
      const { makeCertificates } = await import('./commands/certs.ts');
      await makeCertificates({ arguments: command.args, flags });
    });
}

function accessCommands(root: Command): void {
  const access = root.command('access').description('users and rules of an access file');
  const run = (name: 'printUser' | 'checkAccessFile' | 'importMosquitto') => {
    return async (...given: unknown[]): Promise<void> => {
      const command = given.at(-1) as Command;
      const commands = await import('./commands/access.ts');
      await commands[name]({ arguments: command.args, flags: command.opts() });
    };
  };
  access
    .command('user')
    .description('print the entry of a user; the password comes from standard input')
    .argument('<name>')
    .option('--group <name>', 'a group of the user; repeatable', collect)
    .option('--superuser', 'one who may do everything')
    .action(run('printUser'));
  access
    .command('check')
    .description('say whether an access file is well formed')
    .argument('<file>')
    .action(run('checkAccessFile'));
  access
    .command('import')
    .description("print an access file made of Mosquitto's")
    .option('--passwords <file>', 'its password file')
    .option('--acl <file>', 'its ACL file')
    .action(run('importMosquitto'));
}

function role(
  root: Command,
  name: Role,
  description: string,
  run: (options: Options) => Promise<void>,
): void {
  const command = root.command(name).description(description);
  addOptions(command, name);
  command.action(withOptions(name, (options) => run(options)));
}

function admin(parent: Command, name: string, description: string): Command {
  const command = parent.command(name).description(description);
  addOptions(command, 'admin');
  return command;
}

/** One value each: a name that follows is an argument. */
function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

function addOptions(command: Command, forRole: Role): void {
  for (const name of optionsOf(forRole)) {
    const row = rowOf(name);
    const standard = defaultOf(name, forRole);
    const note = [standard && `default ${standard}`, environmentName(name)]
      .filter(Boolean)
      .join('; ');
    command.option(`--${name}${row.value ? ` <${row.value}>` : ''}`, `${row.help} [${note}]`);
  }
}

/** What a command is told besides its options. */
export interface CommandInput {
  readonly arguments: readonly string[];
  readonly flags: Readonly<Record<string, unknown>>;
}

function withOptions(
  forRole: Role,
  run: (options: Options, input: CommandInput) => Promise<void>,
): (...actionArguments: unknown[]) => Promise<void> {
  return async (...actionArguments) => {
    const command = actionArguments.at(-1) as Command;
    const flags = dashed(command.opts());
    const file = configurationFile(flags['config'] ?? process.env[environmentName('config')]);
    const options = resolveOptions(forRole, { flags, environment: process.env, file });
    await run(options, { arguments: command.args, flags });
  };
}

/** commander names `--data-dir` `dataDir`; the table names it `data-dir`. */
function dashed(flags: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(flags).map(([name, value]) => [
      name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
      value,
    ]),
  );
}

function configurationFile(path: unknown): Record<string, unknown> {
  if (typeof path !== 'string') return {};
  try {
    return mapping(parse(readFileSync(path, 'utf8')) ?? {});
  } catch (thrown) {
    const reason = thrown instanceof Error ? (thrown.message.split('\n')[0] ?? '') : String(thrown);
    throw new OperatingError('INVALID_ARGUMENT', `configuration file ${path}: ${reason}`);
  }
}

function mapping(content: unknown): Record<string, unknown> {
  if (typeof content === 'object' && content !== null && !Array.isArray(content)) {
    return content as Record<string, unknown>;
  }
  throw new Error('it must hold "name: value" lines, for example "mqtt-listen: 127.0.0.1:1883"');
}
