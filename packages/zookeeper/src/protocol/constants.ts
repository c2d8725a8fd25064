/** Numbers of the protocol (org.apache.zookeeper.ZooDefs, CreateMode, Watcher of Apache ZooKeeper). */

export const OP = {
  notification: 0,
  create: 1,
  delete: 2,
  exists: 3,
  getData: 4,
  setData: 5,
  getACL: 6,
  setACL: 7,
  getChildren: 8,
  sync: 9,
  ping: 11,
  getChildren2: 12,
  check: 13,
  multi: 14,
  create2: 15,
  removeWatches: 18,
  createContainer: 19,
  createTTL: 21,
  multiRead: 22,
  auth: 100,
  setWatches: 101,
  sasl: 102,
  getEphemerals: 103,
  getAllChildrenNumber: 104,
  setWatches2: 105,
  addWatch: 106,
  whoAmI: 107,
  closeSession: -11,
  error: -1,
} as const;

/** Transaction ids that are not a caller's request. */
export const XID = { notification: -1, ping: -2, auth: -4, setWatches: -8 } as const;

/** Flags of create. */
export const CREATE = {
  persistent: 0,
  ephemeral: 1,
  persistentSequential: 2,
  ephemeralSequential: 3,
  container: 4,
  persistentTtl: 5,
  persistentSequentialTtl: 6,
} as const;

/** Types of a watch's event, and what they are called here. */
export const EVENT_NAMES = {
  1: 'created',
  2: 'deleted',
  3: 'dataChanged',
  4: 'childrenChanged',
} as const;

/** What removeWatches takes away. */
export const WATCHER_TYPE = { children: 1, data: 2, any: 3 } as const;

/** What addWatch adds. */
export const ADD_WATCH_MODE = { persistent: 0, persistentRecursive: 1 } as const;
