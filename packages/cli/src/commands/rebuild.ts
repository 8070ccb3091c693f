import { OperatingError, portOf, systemClock } from '@robustmq/core';
import { folderTarget, type RebuildReport, rebuildPlacement } from '@robustmq/placement';

import { commandTransport } from '../command-transport.ts';
import { confirm } from '../confirm.ts';
import { operatorName } from '../operator.ts';
import type { Options } from '../options.ts';
import { required } from '../required.ts';

interface Input {
  readonly flags: Readonly<Record<string, unknown>>;
}

/**
 * `robustmq placement rebuild`: placement's store from what the journals have, after it was lost or an old
 * copy of it was restored.
 */
export async function runRebuild(options: Options, input: Input): Promise<void> {
  const { flags } = input;
  const dataDir = required(options, 'data-dir');
  const isDry = flags['dry-run'] === true;
  const rebuilt = await rebuildPlacement({
    target: folderTarget(dataDir, flags['force'] === true),
    journals: addresses(flags['journal']),
    allowMissing: texts(flags['allow-missing']),
    acceptLoss: flags['accept-loss'] === true,
    orderedBy: operatorName(),
    // It does what placement does, with placement's certificate.
    transport: commandTransport(options, 'placement'),
    clock: systemClock(),
    onPlan: async (report) => {
      process.stderr.write(reportText(report));
      if (isDry) throw new OperatingError('CANCELLED', '--dry-run: nothing was changed');
      if (report.losses.length + report.missing.length > 0) {
        await confirm(report.clusterId, flags);
      }
    },
  });
  const kept = rebuilt.replaced === undefined ? '' : `what was there is in ${rebuilt.replaced}; `;
  process.stdout.write(
    `rebuilt ${dataDir} with epoch ${rebuilt.placementEpoch}; ${kept}start placement with this --data-dir\n`,
  );
}

function reportText(report: RebuildReport): string {
  const { clusterId, journals, missing, topics, shards, sealedSegments, losses } = report;
  const lines = [
    `cluster ${clusterId}: ${journals.length} journals answer (${journals.join(', ')})`,
    `${topics} topics, ${shards} partitions, ${sealedSegments} sealed segments; ${report.unsealedSegments} segments will be sealed when placement runs`,
  ];
  if (missing.length > 0) lines.push(`missing: ${missing.join(', ')}: what only they have is lost`);
  if (report.leftovers > 0) {
    lines.push(`${report.leftovers} segments of deleted topics are left on journals, untouched`);
  }
  lines.push(...losses.map((loss) => `lost: ${loss}`));
  return `${lines.join('\n')}\n`;
}

function addresses(given: unknown): string[] {
  const list = texts(given).flatMap((text) => text.split(','));
  if (list.length === 0) {
    const message = '--journal HOST:PORT names a journal; the others are found by what it knows';
    throw new OperatingError('INVALID_ARGUMENT', message);
  }
  const wrong = list.find((address) => !(portOf(address) > 0));
  if (wrong === undefined) return list;
  const message = `--journal ${wrong}: must be HOST:PORT, for example 127.0.0.1:7401`;
  throw new OperatingError('INVALID_ARGUMENT', message);
}

function texts(given: unknown): string[] {
  return Array.isArray(given) ? given.map(String) : [];
}
