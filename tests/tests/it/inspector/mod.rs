//! The inspector: what came through a tunnel, for its owner to look at.

mod exchanges;
mod raw;

use serde_json::{Value, json};
use tests::api::{Answer, Caller};
use tests::world::World;
use tests::{RunningClient, eventually};

/// A relay without a store, whose operator may see everything, and a client with the tunnel `app`.
struct Place {
    world: World,
    client: RunningClient,
    operator: Caller,
    /// Where the tunnel is in the API.
    tunnel: String,
}

impl Place {
    /// With a tunnel that is written so, called `app`.
    async fn of(tunnel: &str, adjust: impl FnOnce(&mut relay::Settings)) -> Self {
        let world = World::start_with(|settings| {
            tests::web::with_http(settings);
            adjust(settings);
        })
        .await;
        let client = world.client_for(&[tunnel.to_owned()]).await;
        let operator = Caller::nobody(world.addrs.admin);
        Self { world, client, operator, tunnel: "/tunnels/(anybody).app".to_owned() }
    }

    /// Turns the inspection on.
    async fn inspect(&self, options: Value) {
        let path = format!("{}/inspection", self.tunnel);
        let on = self.operator.ask("PUT", &path, &options).await.is(200);
        assert_eq!(on.json["on"], true);
    }

    async fn get(&self, path: &str) -> Answer {
        self.operator.get(&format!("{}{path}", self.tunnel)).await
    }

    /// Waits until so many of these are over, and returns them whole, the last one first.
    async fn over(&self, list: &str, count: usize) -> Vec<Value> {
        let over = |item: &Value| item["outcome"].is_string() || item["ended"].is_string();
        let lines = async || {
            let page = self.get(list).await.is(200).json;
            page["items"].as_array().expect("a list").clone()
        };
        eventually(&format!("{count} of {list} to be over"), async || {
            let lines = lines().await;
            lines.len() == count && lines.iter().all(over)
        })
        .await;
        let mut all = Vec::new();
        for line in lines().await {
            all.push(self.get(&format!("{list}/{}", line["id"])).await.is(200).json);
        }
        all
    }

    async fn stop(self) {
        self.client.finish().await;
        self.world.stop().await;
    }
}

/// The value of a header in a list of them.
fn header<'a>(headers: &'a Value, name: &str) -> &'a str {
    let list = headers.as_array().expect("headers");
    let found = list.iter().find(|header| header["name"] == name);
    found.and_then(|header| header["value"].as_str()).unwrap_or("(none)")
}

#[tokio::test]
async fn nothing_is_kept_before_it_is_turned_on_nor_after_it_is_turned_off() {
    let service = tests::web::WebService::start().await;
    let place = Place::of(&format!("app=http://{}", service.addr()), |_| ()).await;
    let ask =
        async |path| tests::web::ask(&place.world, tests::web::get(path).body("").unwrap()).await;
    ask("/before").await;
    place.inspect(json!({})).await;
    ask("/meanwhile").await;
    assert_eq!(place.over("/exchanges", 1).await[0]["target"], "/meanwhile");
    let off = format!("{}/inspection", place.tunnel);
    place.operator.ask("DELETE", &off, &Value::Null).await.is(204);
    ask("/after").await;
    assert_eq!(place.over("/exchanges", 1).await.len(), 1);
    assert_eq!(place.get("/inspection").await.is(200).json["on"], false);
    let all = format!("{}/exchanges", place.tunnel);
    place.operator.ask("DELETE", &all, &Value::Null).await.is(204);
    assert_eq!(place.get("/exchanges").await.is(200).each("id"), [""; 0]);
    place.stop().await;
}

#[tokio::test]
async fn an_inspection_that_cannot_be_is_refused() {
    let service = tests::web::WebService::start().await;
    let tunnel = format!("app=http://{}", service.addr());
    let place = Place::of(&tunnel, |_| ()).await;
    let path = format!("{}/inspection", place.tunnel);
    for bad in
        [json!({ "for_seconds": 0 }), json!({ "for_seconds": 86_401 }), json!({ "raw": true })]
    {
        place.operator.ask("PUT", &path, &bad).await.is_problem(400, "invalid");
    }
    place.operator.get("/tunnels/(anybody).none/exchanges").await.is_problem(404, "not_found");
    place.operator.get(&format!("{}/exchanges/1", place.tunnel)).await.is_problem(404, "not_found");
    place.stop().await;

    let place = Place::of(&tunnel, |s| s.inspect.memory = "0".parse().expect("none")).await;
    place.operator.ask("PUT", &path, &json!({})).await.is_problem(409, "conflict");
    place.stop().await;
}
