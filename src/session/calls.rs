//! FunctionCall: what libpq sends for large objects, as psql's `\\lo_import` and the drivers built on it do.
//!
//! Never passes a call of any other function. Invariant: a call is judged as the SELECT that calls the same function, with
//! its arguments as bound values.
//! Source: PostgreSQL manual, "Function Call", "Large Objects: Client Interfaces".

use std::sync::Arc;

use countersign_policy::Analysis;
use countersign_policy::verdict::Rows;
use countersign_protocol::Frame;
use countersign_protocol::backend::Field;
use countersign_protocol::frontend::{FunctionCall, format_of, tag};

use super::machine::{Machine, Stop};
use super::messages;
use super::parked::{Asked, Values, read_values};
use super::results::ResultPlan;
use super::words::Surroundings;
use crate::review::Parameter;

const INT4: u32 = 23;
const INT8: u32 = 20;
const OID: u32 = 26;
const BYTEA: u32 = 17;

/// A function of the server that may be called by message.
struct LargeObjectFunction {
    oid: u32,
    /// The call as it is judged.
    text: &'static str,
    arguments: &'static [u32],
    returns: u32,
}

const fn function(oid: u32, text: &'static str, arguments: &'static [u32], returns: u32) -> LargeObjectFunction {
    LargeObjectFunction { oid, text, arguments, returns }
}

/// Those that libpq calls. They change nothing that decides how later statements read.
const LARGE_OBJECTS: [LargeObjectFunction; 13] = [
    function(715, "SELECT pg_catalog.lo_create($1)", &[OID], OID),
    function(952, "SELECT pg_catalog.lo_open($1, $2)", &[OID, INT4], INT4),
    function(953, "SELECT pg_catalog.lo_close($1)", &[INT4], INT4),
    function(954, "SELECT pg_catalog.loread($1, $2)", &[INT4, INT4], BYTEA),
    function(955, "SELECT pg_catalog.lowrite($1, $2)", &[INT4, BYTEA], INT4),
    function(956, "SELECT pg_catalog.lo_lseek($1, $2, $3)", &[INT4, INT4, INT4], INT4),
    function(957, "SELECT pg_catalog.lo_creat($1)", &[INT4], OID),
    function(958, "SELECT pg_catalog.lo_tell($1)", &[INT4], INT4),
    function(964, "SELECT pg_catalog.lo_unlink($1)", &[OID], INT4),
    function(1004, "SELECT pg_catalog.lo_truncate($1, $2)", &[INT4, INT4], INT4),
    function(3170, "SELECT pg_catalog.lo_lseek64($1, $2, $3)", &[INT4, INT8, INT4], INT8),
    function(3171, "SELECT pg_catalog.lo_tell64($1)", &[INT4], INT8),
    function(3172, "SELECT pg_catalog.lo_truncate64($1, $2)", &[INT4, INT8], INT4),
];

impl Machine {
    pub(super) fn function_call(&mut self, frame: &Frame, around: &Surroundings) -> Result<(), Stop> {
        self.release_group();
        if self.skipping {
            return Ok(());
        }
        let call = FunctionCall::read(frame.body()).ok();
        let function = call.as_ref().and_then(|call| known(call.function));
        let (Some(call), Some(function)) = (call, function) else {
            let message = "function calls by message are supported for large objects only";
            self.refuse_query(messages::not_supported(message));
            return Ok(());
        };
        let text: Arc<str> = Arc::from(function.text);
        let Some(analysis) = self.analyze(&text, around) else {
            self.postponed = Some(frame.clone());
            return Ok(());
        };
        if !shows_as_it_is(function, &analysis, around) {
            let message = "large objects cannot be read by function calls where columns are masked";
            self.refuse_query(messages::not_supported(message));
            return Ok(());
        }
        let asked = Asked {
            text,
            analysis,
            generation: self.names.generation(&around.catalog),
            named_by_sql: false,
            parameter_part: frame.bytes.slice_ref(call.parameter_part),
            given: Values::Called(function.arguments),
            parameters: Vec::new(),
            rows: Some(Rows::Estimated(1)),
            bind: None,
        };
        self.decide_query(frame, asked, around)
    }
}

/// The arguments of a FunctionCall for people; only a call that is held needs them. Empty for any other message.
pub(super) fn arguments(frame: &Frame) -> Vec<Parameter> {
    match FunctionCall::read(frame.body()) {
        Ok(call) if frame.tag == tag::FUNCTION_CALL => {
            let types = known(call.function).map_or(&[][..], |function| function.arguments);
            read_values(types, &call.values, |index| format_of(&call.formats, index))
        }
        Ok(_) | Err(_) => Vec::new(),
    }
}

fn known(oid: u32) -> Option<&'static LargeObjectFunction> {
    LARGE_OBJECTS.iter().find(|function| function.oid == oid)
}

/// Whether no mask applies to what the function returns; there is no way to mask a FunctionCallResponse.
fn shows_as_it_is(function: &LargeObjectFunction, analysis: &Analysis, around: &Surroundings) -> bool {
    let result = Field { table_oid: 0, attnum: 0, type_oid: function.returns, format: 1 };
    function.returns != BYTEA
        || matches!(
            ResultPlan::new(&around.masks, &around.catalog, &[result], analysis.statements.first()),
            ResultPlan::Pass
        )
}
