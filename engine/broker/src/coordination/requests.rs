//! Requests that the coordination shard serves, one file per concern.
//!
//! A handler answers at once, or hands back a future that does (when the answer must wait for the disk, the data shards or
//! a client). Handlers of one connection are started in the order of its requests.

mod assignment;
mod by_key;
mod clients;
mod config;
mod groups;
mod locks;
mod offsets;
mod relay;
mod reset;
mod stats;
mod topics;

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use ringmq_remoting::Command;
use ringmq_remoting::body::BodyError;
use ringmq_remoting::code::{request as code, response};
use ringmq_remoting::request::FieldError;
use tracing::debug;

use super::core::{Core, Response, TooManyQuestions};
use super::groups::GroupError;
use super::names::NameError;
use super::relay::Channel;
use super::request_modes::ModeError;
use super::topics::TopicError;
use crate::message::{Ensure, ForwardedRequest, Origin, Question};
use crate::metadata::SaveError;

/// A request and where it came from.
#[derive(Debug)]
pub struct Request {
    /// Who asked.
    pub origin: Origin,
    frame: Bytes,
}

impl From<ForwardedRequest> for Request {
    fn from(forwarded: ForwardedRequest) -> Self {
        Self { origin: forwarded.origin, frame: forwarded.frame }
    }
}

impl Request {
    /// The request, read in place.
    pub fn command(&self) -> Command<'_> {
        Command::parse(&self.frame).expect("the connection's shard has read it")
    }

    /// The connection it came on.
    pub fn channel(&self) -> Channel {
        Channel { shard: self.origin.shard, connection: self.origin.connection }
    }
}

/// A negative answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    code: i32,
    remark: String,
}

impl Refusal {
    fn new(code: i32, remark: impl Into<String>) -> Self {
        Self { code, remark: remark.into() }
    }
}

/// What a handler gives.
pub type Answer = Result<Response, Refusal>;
/// An answer that takes a while.
pub type Later = Pin<Box<dyn Future<Output = Answer>>>;

/// When a request is answered.
pub enum Outcome {
    /// Now.
    Now(Answer),
    /// When this is done.
    Later(Later),
}

impl Outcome {
    fn later(future: impl Future<Output = Answer> + 'static) -> Self {
        Self::Later(Box::pin(future))
    }
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        Self::Now(answer)
    }
}

macro_rules! refusals {
    ($($error:ty => $code:ident),+ $(,)?) => {$(
        impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                Self::new(response::$code, error.to_string())
            }
        }
    )+};
}

refusals! {
    FieldError => SYSTEM_ERROR,
    BodyError => SYSTEM_ERROR,
    SaveError => SYSTEM_ERROR,
    TooManyQuestions => SYSTEM_BUSY,
    NameError => INVALID_PARAMETER,
    TopicError => INVALID_PARAMETER,
    GroupError => INVALID_PARAMETER,
    ModeError => INVALID_PARAMETER,
}

/// The response for an answer.
pub fn response_of(answer: Answer) -> Response {
    answer.unwrap_or_else(|refusal| Response::remark(refusal.code, refusal.remark))
}

/// Starts a request.
pub fn dispatch(core: &Rc<Core>, request: Request) -> Outcome {
    let number = request.command().code;
    debug!(code = number, peer = %request.origin.peer, "request");
    match number {
        code::HEART_BEAT => clients::heartbeat(core, &request),
        code::UNREGISTER_CLIENT => clients::unregister(core, &request).into(),
        code::GET_CONSUMER_LIST_BY_GROUP => clients::consumer_list(core, &request).into(),
        code::CHECK_CLIENT_CONFIG => clients::check_config(core, &request).into(),
        code::GET_CONSUMER_CONNECTION_LIST => clients::consumer_connections(core, &request).into(),
        code::GET_PRODUCER_CONNECTION_LIST => clients::producer_connections(core, &request).into(),
        code::GET_ALL_PRODUCER_INFO => clients::all_producers(core).into(),
        code::QUERY_SUBSCRIPTION_BY_CONSUMER => clients::subscription(core, &request).into(),

        code::QUERY_ASSIGNMENT => assignment::query(core, &request),
        code::SET_MESSAGE_REQUEST_MODE => assignment::set_mode(core, &request),
        code::GET_ALL_MESSAGE_REQUEST_MODE => assignment::all_modes(core).into(),

        code::LOCK_BATCH_MQ => locks::lock(core, &request).into(),
        code::UNLOCK_BATCH_MQ => locks::unlock(core, &request).into(),

        code::UPDATE_AND_CREATE_TOPIC => topics::update(core, &request),
        code::UPDATE_AND_CREATE_TOPIC_LIST => topics::update_list(core, &request),
        code::DELETE_TOPIC_IN_BROKER => topics::delete(core, &request),
        code::GET_ALL_TOPIC_CONFIG => topics::all(core).into(),
        code::GET_TOPIC_CONFIG => topics::one(core, &request).into(),
        code::GET_SYSTEM_TOPIC_LIST_FROM_BROKER => topics::system(core).into(),

        code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => groups::update(core, &request),
        code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST => groups::update_list(core, &request),
        code::DELETE_SUBSCRIPTIONGROUP => groups::delete(core, &request),
        code::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => groups::all(core).into(),
        code::GET_SUBSCRIPTIONGROUP_CONFIG => groups::one(core, &request).into(),
        code::UPDATE_AND_GET_GROUP_FORBIDDEN => groups::forbidden(core, &request),

        code::GET_ALL_CONSUMER_OFFSET => offsets::all(core).into(),
        code::GET_ALL_DELAY_OFFSET => offsets::all_delay(core).into(),
        code::INVOKE_BROKER_TO_RESET_OFFSET => reset::reset(core, &request),
        code::QUERY_CORRECTION_OFFSET => offsets::correction(core, &request),
        code::CLONE_GROUP_OFFSET => offsets::clone(core, &request),
        code::QUERY_TOPICS_BY_CONSUMER => offsets::topics_of_group(core, &request),
        code::QUERY_TOPIC_CONSUME_BY_WHO => offsets::groups_of_topic(core, &request),

        code::GET_TOPIC_STATS_INFO => stats::topic(core, &request),
        code::GET_CONSUME_STATS => stats::consume(core, &request),
        code::GET_BROKER_CONSUME_STATS => stats::consume_all(core, &request),
        code::QUERY_CONSUME_TIME_SPAN => stats::consume_spans(core, &request),
        code::GET_BROKER_RUNTIME_INFO => stats::runtime(core),
        code::VIEW_BROKER_STATS_DATA => stats::counter(core, &request),

        code::QUERY_MESSAGE => by_key::query(core, &request),

        code::GET_BROKER_CONFIG => config::get(core).into(),
        code::UPDATE_BROKER_CONFIG => config::update(core, &request),

        code::GET_CONSUMER_RUNNING_INFO => relay::running_info(core, &request),
        code::CONSUME_MESSAGE_DIRECTLY => relay::consume_directly(core, &request),
        code::INVOKE_BROKER_TO_GET_CONSUMER_STATUS => relay::consumer_status(core, &request),

        code::DELETE_EXPIRED_COMMITLOG => delete_expired(core),
        // An index goes with its segment: there is never anything left to clean.
        code::CLEAN_EXPIRED_CONSUMEQUEUE => Outcome::Now(Ok(Response::success())),
        code::CLEAN_UNUSED_TOPIC => topics::clean_unused(core),
        _ => Outcome::Now(Err(not_supported(number))),
    }
}

/// 329: begins at once and goes on step by step, as in the reference.
fn delete_expired(core: &Rc<Core>) -> Outcome {
    let core = Rc::clone(core);
    Outcome::later(async move {
        core.ask_all(Question::CleanExpired).await?;
        Ok(Response::success())
    })
}

fn not_supported(code: i32) -> Refusal {
    Refusal::new(response::REQUEST_CODE_NOT_SUPPORTED, format!(" request type {code} not supported"))
}

/// Makes what a request needs, if that is allowed. Done when it can be relied on, or will not be.
pub async fn ensure(core: Rc<Core>, what: Ensure) {
    match what {
        Ensure::SendTopic { topic, template, queues, unit } => {
            let config = core.config();
            let created = core.topics.borrow_mut().create_on_send(
                &topic,
                &template,
                queues,
                unit,
                &config,
                core.now_ms(),
            );
            topics::created(&core, &topic, created).await;
        }
        Ensure::GroupTopic { topic, queues } => {
            let created = core.topics.borrow_mut().create_group_topic(&topic, queues, false, core.now_ms());
            topics::created(&core, &topic, created).await;
        }
        Ensure::Group { group } => groups::ensure(&core, &group).await,
    }
}

pub use clients::{left, notify_members};
pub use stats::shard_runtimes;

/// A refusal with the reference's text for an unknown topic.
fn no_such_topic(topic: impl Display) -> Refusal {
    Refusal::new(response::TOPIC_NOT_EXIST, format!("topic[{topic}] not exist"))
}
