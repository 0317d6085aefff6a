/** Celery settings that exist but mean nothing here, by beginning of the name, with the reason that is shown. */
const unused: readonly (readonly [pattern: RegExp, reason: string])[] = [
  [/^(enable_utc|timezone)$/, 'times travel in UTC; schedules have time zones of their own'],
  [/^(imports|include|loader|config_module|app)$/, 'name the module with -A'],
  [/^beat_/, 'schedules are not part of this version'],
  [
    /^(arangodb|azureblockblob|cassandra|cosmosdbsql|couchbase|elasticsearch|gcs|mongodb|database|couchdb|consul)_/,
    'there is no such result backend here',
  ],
  [/^(s3|dynamodb)_/, 'the result backend is another one'],
  [/^(cache|redis)_/, 'options of a result backend go into its URL or into resultBackendTransportOptions'],
  [/^broker_connection_timeout$/, 'give socketConnectTimeout in brokerTransportOptions, for redis://'],
  [/^broker_connection_retry$/, 'a worker always reconnects; brokerConnectionMaxRetries says how often'],
  [
    /^broker_(native|channel|login|heartbeat|pool|failover|use_ssl|transport$|host|port|user|password|vhost|read|write|connection)/,
    'options of a broker go into its URL or into brokerTransportOptions',
  ],
  [/^(control|event)_(queue|exchange|serializer)/, 'events and remote control are not part of this version'],
  [/^worker_enable_soft_shutdown_on_idle$/, 'a worker in which no task runs holds nothing that it could wait for'],
  [/^worker_(log|task_log|redirect|hijack)/, 'give the app a logger instead'],
  [
    /^worker_(agent|autoscaler|consumer|timer|proc_alive|lost_wait|pool_putlocks|pool_restarts|state_db|direct|detect|disable|enable|eta|cancel|deduplicate|send_task_events)/,
    'the worker of this version has no such part',
  ],
  [
    /^result_(accept_content|cache_max|compression|exchange|exchange_type|persistent|chord)/,
    'results are kept by the backend as they are',
  ],
  [
    /^task_(annotations|protocol|remote_tracebacks|send_sent_event|queue_max_priority|queue_ha_policy|create_missing|default_(exchange|routing|delivery|rate|queue_type)|inherit|allow_error|acks_on)/,
    'this version does not have it',
  ],
  [/^(security|setup_security)/, 'signed messages are not part of this version'],
  [/^(deprecated_settings|override_backends|worker_deduplicate)/, 'it has no counterpart'],
];

/** Why a setting of Celery (in its lower-case name) has no effect; `undefined` where Celery has no such setting either. */
export function unusedCelerySettings(setting: string): string | undefined {
  return unused.find(([pattern]) => pattern.test(setting.toLowerCase()))?.[1];
}

/** Celery settings that are options of one result backend driver, by the scheme of its URL. */
const backendSettings: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  s3: {
    s3_bucket: 'bucket',
    s3_base_path: 'basePath',
    s3_region: 'region',
    s3_endpoint_url: 'endpointUrl',
    s3_access_key_id: 'accessKeyId',
    s3_secret_access_key: 'secretAccessKey',
  },
  dynamodb: { dynamodb_endpoint_url: 'endpointUrl' },
};

/** Which option of the driver of this result backend a setting of Celery is, in whatever case it is written. */
export function backendOption(setting: string, backend: unknown): string | undefined {
  const scheme = typeof backend === 'string' ? /^(\w+):/.exec(backend)?.[1]?.toLowerCase() : undefined;
  return scheme === undefined ? undefined : backendSettings[scheme]?.[setting.toLowerCase()];
}
