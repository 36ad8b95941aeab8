//! Looking up messages.

headers! {
    /// Code 33: the message at a physical offset.
    ViewMessageHeader {
        /// Physical offset.
        offset: required long "offset",
        /// Topic, from newer clients.
        topic: optional text "topic",
    }

    /// Code 12: messages by key.
    QueryMessageHeader {
        /// Topic.
        topic: required text "topic",
        /// Key, or unique key.
        key: required text "key",
        /// Most messages wanted.
        max_num: required int "maxNum",
        /// Store time from, ms.
        begin_timestamp: required long "beginTimestamp",
        /// Store time to, ms.
        end_timestamp: required long "endTimestamp",
        /// The key is a unique key.
        unique_key: optional boolean "_UNIQUE_KEY_QUERY",
        /// What `key` is, from newer clients: `U` a unique key, `K` a key, `T` a tag.
        index_type: optional text "indexType",
    }
}

number_headers! {
    /// Answer to 12.
    QueryMessageResponse {
        /// Store time of the newest indexed message, ms.
        index_last_update_timestamp: required long "indexLastUpdateTimestamp",
        /// Physical offset of the newest indexed message.
        index_last_update_physical_offset: required long "indexLastUpdatePhyoffset",
    }
}
