//! What is known by name about functions that come with the server, and about a few well-known extensions.
//!
//! Never says what a user's function does. Invariant: a volatile function that is on no list here may write.

/// Volatile functions that neither write what others see, nor read what the caller's query does not name. Those that list
/// one directory of the server's own show names and sizes, to members of `pg_monitor`.
const HARMLESS: &[&str] = &[
    "clock_timestamp",
    "currval",
    "gen_random_uuid",
    "lastval",
    "nextval",
    "pg_blocking_pids",
    "pg_collation_actual_version",
    "pg_control_checkpoint",
    "pg_control_init",
    "pg_control_recovery",
    "pg_control_system",
    "pg_current_logfile",
    "pg_current_wal_flush_lsn",
    "pg_current_wal_insert_lsn",
    "pg_current_wal_lsn",
    "pg_database_collation_actual_version",
    "pg_database_size",
    "pg_export_snapshot",
    "pg_get_backend_memory_contexts",
    "pg_get_multixact_members",
    "pg_get_shmem_allocations",
    "pg_get_wal_replay_pause_state",
    "pg_get_wal_resource_managers",
    "pg_indexes_size",
    "pg_is_in_recovery",
    "pg_is_wal_replay_paused",
    "pg_isolation_test_session_is_blocked",
    "pg_jit_available",
    "pg_last_committed_xact",
    "pg_last_wal_receive_lsn",
    "pg_last_wal_replay_lsn",
    "pg_last_xact_replay_timestamp",
    "pg_lock_status",
    "pg_ls_archive_statusdir",
    "pg_ls_logdir",
    "pg_ls_logicalmapdir",
    "pg_ls_logicalsnapdir",
    "pg_ls_replslotdir",
    "pg_ls_summariesdir",
    "pg_ls_tmpdir",
    "pg_ls_waldir",
    "pg_notification_queue_usage",
    "pg_partition_ancestors",
    "pg_partition_tree",
    "pg_prepared_xact",
    "pg_relation_size",
    "pg_replication_origin_progress",
    "pg_replication_origin_session_is_setup",
    "pg_safe_snapshot_blocking_pids",
    "pg_sequence_last_value",
    "pg_show_replication_origin_status",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    "pg_stat_clear_snapshot",
    "pg_stat_have_stats",
    "pg_table_size",
    "pg_tablespace_size",
    "pg_total_relation_size",
    "pg_xact_commit_timestamp",
    "pg_xact_commit_timestamp_origin",
    "pg_xact_status",
    "random",
    "random_normal",
    "setseed",
    "timeofday",
    "txid_status",
    "uuidv4",
    "uuidv7",
];

/// Volatile functions in C of well-known extensions that only compute, check or show statistics.
const HARMLESS_EXTENSIONS: &[&str] = &[
    "bt_index_check",
    "bt_index_parent_check",
    "gen_random_bytes",
    "gen_random_uuid",
    "gen_salt",
    "pg_stat_statements",
    "pg_stat_statements_info",
    "pgaudit_ddl_command_end",
    "pgaudit_sql_drop",
    "uuid_generate_v1",
    "uuid_generate_v1mc",
    "uuid_generate_v4",
    "verify_heapam",
];

/// Names and beginnings of names (with `*`) that are dangerous whatever their volatility.
const DANGEROUS: &[&str] = &[
    // Those that read a value of any type run the checks of a domain.
    "array_in",
    "array_recv",
    "binary_upgrade_*",
    "brin_desummarize_range",
    "brin_summarize_*",
    "crosstab*",
    "connectby",
    "currtid2",
    "cursor_to_xml*",
    "database_to_xml*",
    "dblink*",
    "domain_in",
    "domain_recv",
    "gin_clean_pending_list",
    "lo_*",
    "loread",
    "lowrite",
    "multirange_in",
    "multirange_recv",
    "pg_advisory_*",
    "pg_backup_*",
    "pg_cancel_backend",
    "pg_copy_logical_replication_slot",
    "pg_copy_physical_replication_slot",
    "pg_create_*",
    "pg_drop_replication_slot",
    "pg_execute_server_program",
    "pg_extension_config_dump",
    "pg_file_*",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_import_system_collations",
    "pg_log_backend_memory_contexts",
    "pg_logical_*",
    "pg_ls_dir",
    "pg_nextoid",
    "pg_promote",
    "pg_read_*",
    "pg_reload_conf",
    "pg_replication_origin_advance",
    "pg_replication_origin_create",
    "pg_replication_origin_drop",
    "pg_replication_origin_session_reset",
    "pg_replication_origin_session_setup",
    "pg_replication_origin_xact_*",
    "pg_replication_slot_advance",
    "pg_rotate_logfile*",
    "pg_show_all_file_settings",
    "pg_start_backup",
    "pg_stat_file",
    "pg_stat_force_next_flush",
    "pg_stat_reset*",
    "pg_stop_backup",
    "pg_stop_making_pinned_objects",
    "pg_switch_wal",
    "pg_switch_xlog",
    "pg_terminate_backend",
    "pg_try_advisory_*",
    "pg_wal_replay_*",
    "query_to_xml*",
    "range_in",
    "range_recv",
    "record_in",
    "record_recv",
    "schema_to_xml*",
    "setval",
    "system",
    "table_to_xml*",
    "ts_rewrite",
    "ts_stat",
    "xpath_table",
];

/// Functions whose result is not made of their arguments alone.
const REVEALING: &[&str] = &[
    "currtid2",
    "cursor_to_xml*",
    "database_to_xml*",
    "lo_get",
    "loread",
    "pg_hba_file_rules",
    "pg_logical_slot_*",
    "pg_read_*",
    "pg_show_all_file_settings",
    "pg_stat_get_activity",
    "pg_stat_get_backend_activity",
    "query_to_xml*",
    "schema_to_xml*",
    "table_to_xml*",
    "ts_rewrite",
    "ts_stat",
];

/// Functions that run queries of their own, or of their arguments.
const RUNNING: &[&str] = &[
    "connectby",
    "crosstab*",
    "cursor_to_xml*",
    "database_to_xml*",
    "dblink*",
    "pg_logical_slot_*",
    "query_to_xml*",
    "schema_to_xml*",
    "table_to_xml*",
    "ts_rewrite",
    "ts_stat",
    "xpath_table",
];

/// Functions that make values of a type that is not theirs: of that of their first argument, or of a named one.
const MAKING: &[&str] =
    &["json_populate_record*", "jsonb_populate_record*", "pg_input_error_info", "pg_input_is_valid", "populate_record"];

/// Functions that take or return an array of what else they are given.
const OF_ARRAYS: &[&str] = &["array_*", "percentile_disc", "trim_array", "width_bucket"];

/// Functions whose result says nothing about the value of their arguments.
const BLIND: &[&str] = &[
    "count",
    "cume_dist",
    "dense_rank",
    "ntile",
    "obj_description",
    "percent_rank",
    "pg_column_is_updatable",
    "pg_typeof",
    "rank",
    "row_number",
];

/// Functions that show what they are given by how many rows they yield, or by how long they take.
const TELLING: &[&str] = &[
    "generate_series",
    "generate_subscripts",
    "json_array_elements*",
    "json_each*",
    "json_object_keys",
    "json_populate_recordset",
    "json_to_recordset",
    "jsonb_array_elements*",
    "jsonb_each*",
    "jsonb_object_keys",
    "jsonb_path_query",
    "jsonb_populate_recordset",
    "jsonb_to_recordset",
    "pg_sleep*",
    "regexp_matches",
    "regexp_split_to_table",
    "string_to_table",
    "unnest",
];

pub fn is_listed(list: &[&str], name: &str) -> bool {
    list.iter().any(|entry| match entry.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => *entry == name,
    })
}

pub fn is_harmless(name: &str) -> bool {
    // txid_current, pg_current_xact_id and pg_stat_get_* are stable or only read counters.
    is_listed(HARMLESS, name) || (name.starts_with("pg_stat_get_") && !is_dangerous(name))
}

pub fn is_harmless_extension(name: &str) -> bool {
    HARMLESS_EXTENSIONS.contains(&name)
}

pub fn is_dangerous(name: &str) -> bool {
    is_listed(DANGEROUS, name)
}

pub fn is_revealing(name: &str) -> bool {
    is_listed(REVEALING, name)
}

pub fn runs_queries(name: &str) -> bool {
    is_listed(RUNNING, name)
}

pub fn makes_values_of_types(name: &str) -> bool {
    is_listed(MAKING, name)
}

pub fn makes_arrays(name: &str) -> bool {
    is_listed(OF_ARRAYS, name)
}

pub fn is_blind(name: &str) -> bool {
    BLIND.contains(&name)
}

pub fn tells_by_behaviour(name: &str) -> bool {
    is_listed(TELLING, name)
}

pub fn is_advisory_lock(name: &str) -> bool {
    name.starts_with("pg_advisory_") || name.starts_with("pg_try_advisory_")
}
