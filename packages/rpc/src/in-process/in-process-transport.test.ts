import { transportConformance } from '@robustmq/testkit';
import { inProcessTransport } from './in-process-transport.ts';

transportConformance('in-process', { makeTransport: inProcessTransport, copies: false });
