-- wrk: one JSON-RPC call of math.add after another
wrk.method = "POST"
wrk.body = '{"jsonrpc":"2.0","id":1,"method":"math.add","params":[2,3]}'
wrk.headers["Content-Type"] = "application/json"
