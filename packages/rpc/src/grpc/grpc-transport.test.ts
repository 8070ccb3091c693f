import { transportConformance } from '@robustmq/testkit';
import { grpcTransport } from './grpc-transport.ts';

transportConformance('gRPC', { makeTransport: grpcTransport, copies: true });
