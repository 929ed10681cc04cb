import http.server, os, time, jwt  # PyJWT

class Backend(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/token": return super().do_GET()
        user, now = "u42", int(time.time())  # whom your session says it is
        grants = {"subscribe": ["news", "chat-*"], "publish": ["chat-7"]}
        claims = {"sub": user, "iat": now, "exp": now + 3600, "fanfare": grants}
        self.send_response(200); self.end_headers()
        self.wfile.write(jwt.encode(claims, os.environ["TOKEN_SECRET"], "HS256").encode())

http.server.ThreadingHTTPServer(("127.0.0.1", 3000), Backend).serve_forever()
