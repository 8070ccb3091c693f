export {
  type BrokerAddresses,
  type BrokerOptions,
  type BrokerServer,
  startBroker,
} from './broker-server.ts';
export { shareStrategies, type ShareStrategy } from '@robustmq/kernel';
