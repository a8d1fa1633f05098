<?php
$client = new GearmanClient();
$client->addServer();
print $client->doNormal("reverse", "Hello World!");
