//! The SQLSTATEs that the proxy raises itself. Source: PostgreSQL manual, "PostgreSQL Error Codes".

/// `warning`.
pub const WARNING: &str = "01000";
/// `sqlclient_unable_to_establish_sqlconnection`: the upstream cannot be reached.
pub const CANNOT_CONNECT: &str = "08001";
/// `connection_failure`: the upstream connection broke.
pub const CONNECTION_FAILURE: &str = "08006";
/// `protocol_violation`.
pub const PROTOCOL_VIOLATION: &str = "08P01";
/// `feature_not_supported`.
pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
/// `invalid_parameter_value`.
pub const INVALID_PARAMETER_VALUE: &str = "22023";
/// `idle_in_transaction_session_timeout`.
pub const IDLE_IN_TRANSACTION: &str = "25P03";
/// `in_failed_sql_transaction`.
pub const IN_FAILED_TRANSACTION: &str = "25P02";
/// `invalid_sql_statement_name`.
pub const UNKNOWN_STATEMENT: &str = "26000";
/// `invalid_authorization_specification`.
pub const INVALID_AUTHORIZATION: &str = "28000";
/// `invalid_password`.
pub const INVALID_PASSWORD: &str = "28P01";
/// `invalid_cursor_name`.
pub const UNKNOWN_CURSOR: &str = "34000";
/// `invalid_catalog_name`.
pub const UNKNOWN_DATABASE: &str = "3D000";
/// `insufficient_privilege`.
pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
/// `cant_change_runtime_param`.
pub const CANT_CHANGE_RUNTIME_PARAM: &str = "55P02";
/// `object_not_in_prerequisite_state`.
pub const OBJECT_NOT_IN_PREREQUISITE_STATE: &str = "55000";
/// `syntax_error`.
pub const SYNTAX_ERROR: &str = "42601";
/// `undefined_object`.
pub const UNDEFINED_OBJECT: &str = "42704";
/// `undefined_function`.
pub const UNDEFINED_FUNCTION: &str = "42883";
/// `undefined_table`.
pub const UNDEFINED_TABLE: &str = "42P01";
/// `undefined_parameter`.
pub const UNDEFINED_PARAMETER: &str = "42P02";
/// `too_many_connections`.
pub const TOO_MANY_CONNECTIONS: &str = "53300";
/// `configuration_limit_exceeded`.
pub const CONFIGURATION_LIMIT_EXCEEDED: &str = "53400";
/// `program_limit_exceeded`.
pub const LIMIT_EXCEEDED: &str = "54000";
/// `query_canceled`.
pub const QUERY_CANCELED: &str = "57014";
/// `admin_shutdown`.
pub const ADMIN_SHUTDOWN: &str = "57P01";
/// `cannot_connect_now`.
pub const CANNOT_CONNECT_NOW: &str = "57P03";
/// `idle_session_timeout`.
pub const IDLE_SESSION: &str = "57P05";
/// `io_error`: the audit or the store cannot be written.
pub const IO_ERROR: &str = "58030";
/// `system_error`.
pub const SYSTEM_ERROR: &str = "58000";
/// `internal_error`.
pub const INTERNAL_ERROR: &str = "XX000";
