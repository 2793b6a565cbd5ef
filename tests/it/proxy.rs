//! The proxy as a whole: what PRODUCT promises, seen by clients, reviewers and the upstream.

mod audit;
mod cancel;
mod crash;
mod deny;
mod edited;
mod grants;
mod half_closed;
mod history;
mod hold;
mod inference;
mod justification;
mod large;
mod limits;
mod mask;
mod mask_copy;
mod mask_dump;
mod mask_types;
mod nodes;
mod operations;
mod pass;
mod passthrough;
mod programs;
mod review;
mod rows;
mod startup;
mod tls;
