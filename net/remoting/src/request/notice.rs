//! Requests of a broker to its clients.

headers! {
    /// Code 39 (one-way): what became of a transaction? The body is the half message.
    CheckTransactionStateHeader {
        /// Queue offset of the half message.
        tran_state_table_offset: required long "tranStateTableOffset",
        /// Physical offset of the half message.
        commit_log_offset: required long "commitLogOffset",
        /// `UNIQ_KEY`.
        msg_id: optional text "msgId",
        /// Same.
        transaction_id: optional text "transactionId",
        /// Offset message id.
        offset_msg_id: optional text "offsetMsgId",
        /// Real topic.
        topic: optional text "topic",
    }

    /// Code 220 (one-way): set the offsets in the body.
    ResetOffsetNotice {
        /// Topic.
        topic: required text "topic",
        /// Consumer group.
        group: required text "group",
        /// Asked-for time, ms; -1 for the end.
        timestamp: required long "timestamp",
        /// Also forward.
        is_force: required boolean "isForce",
    }
}
