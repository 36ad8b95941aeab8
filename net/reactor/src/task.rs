//! Under construction.
/// Local tasks.
pub struct Tasks;
/// Handle inside tasks.
pub struct TaskIo;
