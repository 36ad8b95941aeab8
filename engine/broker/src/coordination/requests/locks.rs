//! Queue locks of orderly consumers: 41, 42.

use std::sync::Arc;

use ringmq_remoting::body::{LockBatchRequest, LockBatchResponse};

use super::{Answer, Request};
use crate::coordination::core::{Core, Response};
use crate::coordination::locks::LOCK_LIFE_MS;
use crate::message::ShardMessage;

/// 41
pub(super) fn lock(core: &Core, request: &Request) -> Answer {
    let body = LockBatchRequest::from_json(request.command().body)?;
    let now_ms = core.now_ms();
    let locked_queues =
        core.locks.borrow_mut().lock(&body.consumer_group, &body.client_id, body.queues, now_ms);
    if !locked_queues.is_empty() {
        let group = Arc::<str>::from(body.consumer_group.as_str());
        let until_ms = now_ms + LOCK_LIFE_MS;
        core.mail_all(|| ShardMessage::OrderlyLocks { group: Arc::clone(&group), until_ms });
    }
    Ok(Response::body(LockBatchResponse { locked_queues }.to_json()))
}

/// 42
pub(super) fn unlock(core: &Core, request: &Request) -> Answer {
    let body = LockBatchRequest::from_json(request.command().body)?;
    core.locks.borrow_mut().unlock(&body.consumer_group, &body.client_id, &body.queues);
    Ok(Response::success())
}
