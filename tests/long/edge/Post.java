import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** Sends a POST with Java's HttpClient, whose default offers HTTP/2 with `Upgrade: h2c`. Prints the status and the body. */
class Post {
  public static void main(String[] args) throws Exception {
    var request = HttpRequest.newBuilder(URI.create(args[0]))
        .header("Content-Type", "application/json")
        .header("Authorization", "Bearer " + args[1])
        .POST(HttpRequest.BodyPublishers.ofString(args[2]))
        .build();
    var response = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
    System.out.println(response.statusCode());
    System.out.println(response.body());
  }
}
