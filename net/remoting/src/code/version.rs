//! Protocol versions: ordinals of RocketMQ's `MQVersion`. Releases from 4.0 on have two ordinals per patch
//! (snapshot, release) and ten patches per minor: `V4_x_y = 213 + 20x + 2y`, `V5_x_y = 413 + 20x + 2y`.

/// V3_0_11: from here on the body of a broker registration is a `RegisterBrokerBody`, before it the bare
/// topic table.
pub const V3_0_11: i32 = 37;
/// V3_0_7_SNAPSHOT: clients below it cannot receive requests 220 and 221.
pub const V3_0_7_SNAPSHOT: i32 = 28;
/// V3_1_8_SNAPSHOT: clients below it cannot receive requests 307 and 309.
pub const V3_1_8_SNAPSHOT: i32 = 62;
/// V3_4_9: from here on `maxReconsumeTimes` of a request is honoured.
pub const V3_4_9: i32 = 121;
/// V4_9_3: up to here `_UNIQUE_KEY_QUERY` is not part of a request's signature.
pub const V4_9_3: i32 = 399;
/// V4_9_4: from here on clients get routes as standard JSON.
pub const V4_9_4: i32 = 401;
/// V5_0_0: from here on a compressed broker registration carries mapping infos.
pub const V5_0_0: i32 = 413;
/// V5_3_1: clients above it understand `GO_AWAY`.
pub const V5_3_1: i32 = 475;
/// V5_3_3: what RingMQ says it is.
pub const V5_3_3: i32 = 479;

/// The version in everything that RingMQ sends. Clients record the one of the heartbeat answer as the
/// broker's version, and some use features (SQL92 filters) only above a minimum.
pub const CURRENT: i32 = V5_3_3;
/// [`CURRENT`] as tools show it.
pub const CURRENT_NAME: &str = "V5_3_3";

/// The name of a version ordinal as tools show it, such as `V4_9_8`; `None` for ordinals before 4.0 and
/// snapshots.
pub fn name(ordinal: i32) -> Option<String> {
    let (major, rest) = match ordinal {
        213..=412 => (4, ordinal - 213),
        413..=612 => (5, ordinal - 413),
        _ => return None,
    };
    (rest % 2 == 0).then(|| format!("V{major}_{}_{}", rest / 20, rest % 20 / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_formula() {
        for (ordinal, expected) in
            [(317, "V4_5_2"), (401, "V4_9_4"), (413, "V5_0_0"), (479, "V5_3_3"), (493, "V5_4_0")]
        {
            assert_eq!(name(ordinal).as_deref(), Some(expected));
        }
        assert_eq!(name(CURRENT).as_deref(), Some(CURRENT_NAME));
        assert_eq!(name(232), None);
        assert_eq!(name(-1), None);
    }
}
