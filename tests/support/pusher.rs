//! A client of the Pusher protocol by hand, over tungstenite's WebSocket; and signatures by `hmac`, apart from the server's.

use std::net::SocketAddr;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tungstenite::Message;

use super::{Client, close_frame, text, websocket};

/// A client that is connected to an app.
pub struct Pusher {
    pub client: Client,
    pub socket_id: String,
}

impl Pusher {
    /// Connects to the app with the key `app-key`.
    pub fn connect(address: SocketAddr) -> Self {
        Self::connect_to(address, "app-key")
    }

    /// Connects to the app with this key.
    pub fn connect_to(address: SocketAddr, key: &str) -> Self {
        let mut client =
            websocket(address, &format!("/app/{key}?protocol=7&client=js&version=8.6.0&flash=false"));
        let established: Value = serde_json::from_str(&text(&mut client)).unwrap();
        assert_eq!(established["event"], "pusher:connection_established");
        let data: Value = serde_json::from_str(established["data"].as_str().unwrap()).unwrap();
        assert!(data["activity_timeout"].as_u64().unwrap() > 0);
        let socket_id = data["socket_id"].as_str().unwrap().to_owned();
        Self { client, socket_id }
    }

    /// Sends an event.
    pub fn send(&mut self, event: &str, data: Value) {
        self.send_text(&json!({"event": event, "data": data}).to_string());
    }

    /// Sends a text as it is.
    pub fn send_text(&mut self, text: &str) {
        self.client.send(Message::text(text)).unwrap();
    }

    /// The next message.
    pub fn next(&mut self) -> Value {
        serde_json::from_str(&text(&mut self.client)).unwrap()
    }

    /// The next message, which has this name, and its data: parsed if it is a string of JSON.
    pub fn expect(&mut self, event: &str) -> (String, Value) {
        let message = self.next();
        assert_eq!(message["event"], event, "{message}");
        let data = match &message["data"] {
            Value::String(data) => serde_json::from_str(data).unwrap_or_else(|_| data.as_str().into()),
            data => data.clone(),
        };
        (message["channel"].as_str().unwrap_or("").to_owned(), data)
    }

    /// Subscribes to a channel, signed as an app's server does it where the channel needs that.
    pub fn ask_for(&mut self, channel: &str) {
        let auth = sign("app-secret", &format!("{}:{channel}", self.socket_id));
        self.send("pusher:subscribe", json!({"channel": channel, "auth": format!("app-key:{auth}")}));
    }

    /// The same, and reads the answer: its data.
    pub fn subscribe(&mut self, channel: &str) -> Value {
        self.ask_for(channel);
        self.succeeded(channel)
    }

    /// Joins a presence channel as this user: the data of the answer.
    pub fn join(&mut self, channel: &str, user_id: &str) -> Value {
        self.join_named(channel, user_id, user_id)
    }

    /// The same by another name.
    pub fn join_named(&mut self, channel: &str, user_id: &str, name: &str) -> Value {
        let channel_data = json!({"user_id": user_id, "user_info": {"name": name}}).to_string();
        let auth = sign("app-secret", &format!("{}:{channel}:{channel_data}", self.socket_id));
        let auth = format!("app-key:{auth}");
        self.send(
            "pusher:subscribe",
            json!({"channel": channel, "auth": auth, "channel_data": channel_data}),
        );
        self.succeeded(channel)
    }

    fn succeeded(&mut self, channel: &str) -> Value {
        let (of, data) = self.expect("pusher_internal:subscription_succeeded");
        assert_eq!(of, channel);
        data
    }

    /// Signs in as this user, with a watchlist.
    pub fn sign_in(&mut self, user_id: &str, watchlist: &[&str]) {
        let user_data = json!({"id": user_id, "watchlist": watchlist}).to_string();
        let auth = sign("app-secret", &format!("{}::user::{user_data}", self.socket_id));
        self.send("pusher:signin", json!({"auth": format!("app-key:{auth}"), "user_data": user_data}));
        let (_, data) = self.expect("pusher:signin_success");
        assert_eq!(data["user_data"], user_data);
    }

    /// Asserts that nothing has come before the answer to a ping.
    pub fn has_nothing_more(&mut self) {
        self.send("pusher:ping", json!({}));
        assert_eq!(self.next(), json!({"event": "pusher:pong", "data": "{}"}));
    }

    /// What it is closed with: code and reason. Earlier messages are passed over.
    pub fn closed(&mut self) -> (u16, String) {
        let frame = close_frame(&mut self.client).unwrap();
        (frame.code.into(), frame.reason.to_string())
    }
}

/// HMAC-SHA256 in hexadecimal.
pub fn sign(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
