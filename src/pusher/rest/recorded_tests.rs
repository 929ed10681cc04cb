//! What server libraries sent for each of their methods, as recorded from the wire: method, target, body. The app is 3 with
//! the key 278d425bdf160c739803 and the secret 7ad3773142a6692b25b8, the time is 1353088179 but
//! where another is named.

/// One request: method, target and body.
pub type Recorded = (&'static str, &'static str, &'static str);

/// `pusher` 5.3.4 of npm.
#[rustfmt::skip] // as it was recorded
pub const NODE: [Recorded; 12] = [
    ("POST",
     "/apps/3/events?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=45ff0dd3fcd388e766ebeec554920e41&auth_signature=3afbfced4119aeb18b1b441f623f438db238170e007bb8dda50203ad09031632",
     r#"{"name":"foo","data":"{\"some\":\"data\"}","channels":["project-3"]}"#),
    ("POST",
     "/apps/3/events?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=1cb3f201171afefc4cc8729b586956e7&auth_signature=52c06a02690ac7804e4c885ac18384326ac8837772f066ef5c17947f3ef4480c",
     r#"{"name":"foo","data":"plain é","channels":["a","presence-b"],"socket_id":"1234.5678","info":"user_count,subscription_count"}"#),
    ("POST",
     "/apps/3/batch_events?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=38b0a5c78be49c642b9249e6df228e8b&auth_signature=83a34bc5eb733635a62552ea352bac9906d34a55cadc5d88f4025a8fbd6c1460",
     r#"{"batch":[{"channel":"a","name":"x","data":"{\"n\":1}"},{"channel":"presence-b","name":"y","data":"t","info":"user_count","socket_id":"1.2"}]}"#),
    ("POST",
     "/apps/3/events?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=2395c32d5b3a97a774e32991e98970e0&auth_signature=cffd2d88af4d510673842b9698af1766b95ee39cc9839ae1157d35970152a9ee",
     r##"{"name":"hi","data":"{\"a\":1}","channels":["#server-to-user-u1"]}"##),
    ("POST",
     "/apps/3/users/a%20b/terminate_connections?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=99914b932bd37a50b983c5e7c90ae93b&auth_signature=018c597f71190b3e4f5381914f679b0f7d94ae5ea73ac404395bbf4ab6507989",
     "{}"),
    ("POST",
     "/apps/3/users/a@%C3%A9/terminate_connections?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=99914b932bd37a50b983c5e7c90ae93b&auth_signature=ea0c968ab03d66d716501858ed47aa0341d6e46a65b6371076d8d92e31ff1ea8",
     "{}"),
    ("GET",
     "/apps/3/channels?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&auth_signature=1cafa6382331c976588eb6bd3925a988e4158402be06c4626d0e97d2981f5382",
     ""),
    ("GET",
     "/apps/3/channels?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&filter_by_prefix=presence-&info=user_count&auth_signature=16819168891cb5dfd72b5c7a5d3d602605b26c6ba1930033b5e2eeeb65010291",
     ""),
    ("GET",
     "/apps/3/channels?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&filter_by_prefix=a%20b+%22c&auth_signature=5b22fc654952df3e72294c3e9659161ea4acf2d5caa90df484123b68f34bfcb7",
     ""),
    ("GET",
     "/apps/3/channels/presence-b?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&info=user_count,subscription_count&auth_signature=3d314d20c0c869352e96a71a65660914551ccac22b88104cfc4ef2a1f6727dad",
     ""),
    ("GET",
     "/apps/3/channels/presence-b/users?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&auth_signature=1d72ed6130f2b9ed61e31c0d0b062f2c0012b6902e1c31c6eeb9bbe25272b91e",
     ""),
    ("POST",
     "/apps/3/events?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=97a4d6f2988141919f82136872fa1c92&auth_signature=86b1242c4d112b5deea84660ab3603695f850cc4fe1d55558e0cba027a965753",
     r#"{"name":"foo","data":"{\"nonce\":\"39eMCZJMwMe4wEj8lpoA/vnvtKoO3/4L\",\"ciphertext\":\"Jv3pq7O4yK1dv54Ko44Ja+6IGM/B23xx+cU54EQ5LA==\"}","channels":["private-encrypted-x"]}"#),
];

/// `pusher-http-edge` 0.4.0 of npm.
#[rustfmt::skip] // as it was recorded
pub const EDGE: [Recorded; 8] = [
    ("POST",
     "/apps/3/events?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=45ff0dd3fcd388e766ebeec554920e41&auth_signature=3afbfced4119aeb18b1b441f623f438db238170e007bb8dda50203ad09031632",
     r#"{"name":"foo","data":"{\"some\":\"data\"}","channels":["project-3"]}"#),
    ("POST",
     "/apps/3/events?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=c07ffba8c99345a1f7f1b5de18312269&auth_signature=cfd12f82a79df4040257ed0e8156a9609212b871e887c538d68c18bdce0f7b73",
     r#"{"name":"foo","data":"plain é","channels":["a","b"],"socket_id":"1234.5678","info":"subscription_count"}"#),
    ("POST",
     "/apps/3/batch_events?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=5147c6e20d9e084c19408818a0e20baa&auth_signature=86d84c2597446075c7b299ddb20db2122599ae43524196090b30991fe71c74c4",
     r#"{"batch":[{"channel":"a","name":"x","data":"{\"n\":1}"}]}"#),
    ("POST",
     "/apps/3/events?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=2395c32d5b3a97a774e32991e98970e0&auth_signature=cffd2d88af4d510673842b9698af1766b95ee39cc9839ae1157d35970152a9ee",
     r##"{"name":"hi","data":"{\"a\":1}","channels":["#server-to-user-u1"]}"##),
    ("POST",
     "/apps/3/users/a%20b/terminate_connections?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=99914b932bd37a50b983c5e7c90ae93b&auth_signature=018c597f71190b3e4f5381914f679b0f7d94ae5ea73ac404395bbf4ab6507989",
     "{}"),
    ("GET",
     "/apps/3/channels?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&filter_by_prefix=presence-&info=user_count&auth_signature=16819168891cb5dfd72b5c7a5d3d602605b26c6ba1930033b5e2eeeb65010291",
     ""),
    ("GET",
     "/apps/3/channels?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&filter_by_prefix=a%20b+%22c&auth_signature=5b22fc654952df3e72294c3e9659161ea4acf2d5caa90df484123b68f34bfcb7",
     ""),
    ("GET",
     "/apps/3/channels/presence-b/users?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&auth_signature=1d72ed6130f2b9ed61e31c0d0b062f2c0012b6902e1c31c6eeb9bbe25272b91e",
     ""),
];

/// `pusher` 3.3.4 of PyPI.
#[rustfmt::skip] // as it was recorded
pub const PYTHON: [Recorded; 10] = [
    ("POST",
     "/apps/3/events?auth_key=278d425bdf160c739803&auth_signature=d550b5c3df185aa94a2c76c7c3ca5bdec16c5dbef2f7eccdb68886384e05c06a&auth_timestamp=1353088179&auth_version=1.0&body_md5=e99c7bd443c2257b30f72ae568153d4f",
     r#"{"name": "foo", "channels": ["project-3"], "data": "{\"some\": \"data\"}"}"#),
    ("POST",
     "/apps/3/events?auth_key=278d425bdf160c739803&auth_signature=e29a4b6a7c94ccc94dd2f059dfd9e83dd890978ec233f172e1f90dc17c896385&auth_timestamp=1353088179&auth_version=1.0&body_md5=35265e90b5e0f041696178ba6b3b87be",
     r#"{"name": "foo", "channels": ["a", "presence-b"], "data": "plain \u00e9", "socket_id": "1234.5678"}"#),
    ("POST",
     "/apps/3/batch_events?auth_key=278d425bdf160c739803&auth_signature=11a2262160385a9fe3ba9d9c6e4ab2245627d333bf51a75b1d594716f5e63164&auth_timestamp=1353088179&auth_version=1.0&body_md5=fc56f0c58d32865a4a592378d02e800c",
     r#"{"batch": [{"channel": "a", "name": "x", "data": "{\"n\": 1}"}, {"channel": "b", "name": "y", "data": "t"}]}"#),
    ("GET",
     "/apps/3/channels?auth_key=278d425bdf160c739803&auth_signature=5c3cd75022c4f62c35ad22f6a9cce366c860477a3b7092ca790ecfc17e6af302&auth_timestamp=1353088179&auth_version=1.0&body_md5=d41d8cd98f00b204e9800998ecf8427e",
     ""),
    ("GET",
     "/apps/3/channels?auth_key=278d425bdf160c739803&auth_signature=f3f17c61ae491cc9085db68b22076e9b772e3bcb301659d655153ee3f9782aba&auth_timestamp=1353088179&auth_version=1.0&body_md5=d41d8cd98f00b204e9800998ecf8427e&filter_by_prefix=presence-&info=user_count",
     ""),
    ("GET",
     "/apps/3/channels?auth_key=278d425bdf160c739803&auth_signature=21d79d34bd5ef360dddd4a83107c0a836695beb657475e8899893cab51577508&auth_timestamp=1353088179&auth_version=1.0&body_md5=d41d8cd98f00b204e9800998ecf8427e&filter_by_prefix=a%20b+%22c",
     ""),
    ("GET",
     "/apps/3/channels/presence-b?auth_key=278d425bdf160c739803&auth_signature=aeb06e514f01c5b5c22c9bd53ce018dc179ae5267311f209a8de1f9dbea2a8ee&auth_timestamp=1353088179&auth_version=1.0&body_md5=d41d8cd98f00b204e9800998ecf8427e&info=user_count,subscription_count",
     ""),
    ("GET",
     "/apps/3/channels/presence-b/users?auth_key=278d425bdf160c739803&auth_signature=746a444f24e856096730f622503ca26e9ac28ca37f7e153e3557f7280dc0f823&auth_timestamp=1353088179&auth_version=1.0&body_md5=d41d8cd98f00b204e9800998ecf8427e",
     ""),
    ("POST",
     "/users/u1@x/terminate_connections?auth_key=278d425bdf160c739803&auth_signature=213dff8bef5b84761b41f720a45746dd4e6fe337e08789ae5abfb448e2b7e223&auth_timestamp=1353088179&auth_version=1.0&body_md5=99914b932bd37a50b983c5e7c90ae93b",
     "{}"),
    ("POST",
     "/apps/3/events?auth_key=278d425bdf160c739803&auth_signature=7422230e61350916d9761cb24bdb7b771aa74e54370e531b1cb2cf83b1f5d6f9&auth_timestamp=1353088179&auth_version=1.0&body_md5=c75bf5211943b6314376a012d15bb5d0",
     r##"{"name": "hi", "channels": ["#server-to-user-u1"], "data": "{\"a\": 1}"}"##),
];

/// `pusher` 0.8 of PyPI, which has the call that is deprecated since, under Python 3.
#[rustfmt::skip] // as it was recorded
pub const PYTHON_OLD: [Recorded; 2] = [
    ("POST",
     "/apps/3/channels/project-3/events?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=a5288e2a55b02d65f0fc66a2731f678f&name=foo&auth_signature=f38c50de0e57eed8be67edad46a399f6373af1d30d10d3fcb47366a3e40f2d15",
     r#"{"some": "data"}"#),
    ("POST",
     "/apps/3/channels/a%2Cb%3Bc%40d%3De/events?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=a5288e2a55b02d65f0fc66a2731f678f&name=foo&socket_id=1234.5678&auth_signature=7bcd8ffb9d728832ce79671d1df073874938e5a469ea943e04d09a6642f87f43",
     r#"{"some": "data"}"#),
];

/// When [`RUST`] was recorded: the library's clock is not a test's to set.
pub const RUST_RECORDED_AT_S: u64 = 1_795_293_103;

/// `pushers` 1.5.0, a crate.
#[rustfmt::skip] // as it was recorded
pub const RUST: [Recorded; 8] = [
    ("POST",
     "/apps/3/events?auth_key=278d425bdf160c739803&auth_timestamp=1795293103&auth_version=1.0&body_md5=fb46e511627c26ab33a0a20880c10de7&auth_signature=5b38a31fa90fcfb0d20d9d74cf69c7726c075329400e387eee48d44d444c5322",
     r#"{"channels":["project-3"],"data":"{\"some\":\"data\"}","name":"foo"}"#),
    ("POST",
     "/apps/3/events?auth_key=278d425bdf160c739803&auth_timestamp=1795293103&auth_version=1.0&body_md5=463b184e6bf8e2a38781fdfb043f9e3f&auth_signature=d44862d69e6a21c00b1f216d6e0f98a0deeedf01f248cd40db9548b85ee3e6ff",
     r#"{"name":"foo","channels":["a","presence-b"],"socket_id":"1234.5678","info":"user_count","data":"plain é"}"#),
    ("POST",
     "/apps/3/batch_events?auth_key=278d425bdf160c739803&auth_timestamp=1795293103&auth_version=1.0&body_md5=456a59271cae6eeaa5edab5347516fae&auth_signature=06c2de6bc21da60086909456928413a42799fca6836db2f0aac5d7abd8040d32",
     r#"{"batch":[{"name":"x","channel":"a","data":"{\"n\":1}"},{"channel":"presence-b","name":"y","data":"t","info":"user_count"}]}"#),
    ("POST",
     "/apps/3/users/u1@x/terminate_connections?auth_key=278d425bdf160c739803&auth_timestamp=1795293103&auth_version=1.0&body_md5=99914b932bd37a50b983c5e7c90ae93b&auth_signature=b66c191b86859a04053537936f6b312c16b2d53f44e320de01cb440f83695e2d",
     "{}"),
    ("GET",
     "/apps/3/channels?auth_key=278d425bdf160c739803&auth_timestamp=1795293103&auth_version=1.0&auth_signature=49f4a0654976278ca2cd88b5e151de4b5e7a0a67d2109b10908540942c4f2d38",
     ""),
    ("GET",
     "/apps/3/channels?auth_key=278d425bdf160c739803&auth_timestamp=1795293103&auth_version=1.0&filter_by_prefix=presence-&info=user_count&auth_signature=10a98d18a9cdf17664a9587f7969c19e6a1570e38cea9c2b4d7ff9987c0743ff",
     ""),
    ("GET",
     "/apps/3/channels?auth_key=278d425bdf160c739803&auth_timestamp=1795293103&auth_version=1.0&filter_by_prefix=a%20b+%22c&auth_signature=45a8b105e87536d937c0396b5f91317b157ec1c2dafda6685977c7a79f4683bd",
     ""),
    ("GET",
     "/apps/3/channels/presence-b/users?auth_key=278d425bdf160c739803&auth_timestamp=1795293103&auth_version=1.0&auth_signature=521c6ed1bc5517bb4854875d37d5eedd1f0233cb7cb7dac27868eae7498628ed",
     ""),
];
