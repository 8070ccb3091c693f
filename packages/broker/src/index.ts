export {
  type BrokerAddresses,
  type BrokerOptions,
  type BrokerServer,
  startBroker,
} from './broker-server.ts';
