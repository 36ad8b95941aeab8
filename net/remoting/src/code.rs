//! Numbers that both sides agree on: request codes, response codes, languages and versions.

pub mod request;
pub mod response;
pub mod version;

mod language;

pub use language::Language;
